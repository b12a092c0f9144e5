import type { ComputeManagementClientOptionalParams } from '@azure/arm-compute';

/*
 * Calls to Compute, held back while Compute refuses them. It counts the calls of a subscription by their kind, and those of one resource, and
 * answers 429 with a Retry-After where there were too many (https://learn.microsoft.com/troubleshoot/azure/virtual-machines/troubleshooting-throttling-errors).
 * The SDK waits for as long before it tries the same call again; the others that this process is about to make know nothing of it,
 * are refused as well, and may lengthen the wait. Here they learn of it.
 */

/** Who paces the calls, by their kinds. `SourcePace` does. */
export interface CallPace {
  /** Makes a call when its turn has come. @throws an AbortError where `signal` ends the waiting */
  run<T>(
    kind: string,
    request: { readonly requests: number; readonly bytes: number },
    work: () => Promise<T>,
    signal?: CallSignal,
  ): Promise<T>;
  /** Tells what was answered to one try of a call. */
  answered(kind: string, status: number, retryAfterMs: number | undefined): void;
}

type Policies = NonNullable<ComputeManagementClientOptionalParams['additionalPolicies']>;
type PipelinePolicy = Policies[number]['policy'];
type CallSignal = NonNullable<Parameters<PipelinePolicy['sendRequest']>[0]['abortSignal']>;

/** A call that has no deadline of its own waits for its turn for so long. */
const MOST_WAIT_MS = 120_000;

const CALL = { requests: 1, bytes: 0 };

/** What makes an SDK client of Compute keep to `pace`, with each try of each call. */
export function pacedCalls(pace: CallPace | undefined): { additionalPolicies?: Policies } {
  if (pace === undefined) return {};
  const policy: PipelinePolicy = {
    name: 'pacedCalls',
    async sendRequest(request, next) {
      const kind = kindOfCall(request.method, request.url);
      const call = async () => {
        const response = await next(request);
        pace.answered(kind, response.status, retryAfterMs(response.headers.get('retry-after')));
        return response;
      };
      // Looks at an operation that goes on, and pages of a listing, come without a signal.
      return pace.run(kind, CALL, call, request.abortSignal ?? AbortSignal.timeout(MOST_WAIT_MS));
    },
  };
  return { additionalPolicies: [{ policy, position: 'perRetry' }] };
}

/** The subscription that a kind of call counts for. */
export function subscriptionOfCall(kind: string): string {
  return kind.slice(0, kind.indexOf(' '));
}

const PATH =
  /^(\/subscriptions\/[^/]+)(?:\/resourcegroups\/[^/]+)?\/providers\/microsoft\.compute\/([^/]+)(\/[^/]+)?(?:\/([^/]+))?/;

/** `/subscriptions/<id> GET snapshots/*`: the subscription, the method, what it is about, and whether one of them or their list. */
export function kindOfCall(method: string, url: string): string {
  const path = new URL(url).pathname.toLowerCase();
  const [, subscription, type, one, action] = PATH.exec(path) ?? [];
  if (subscription === undefined) return `${path.split('/').slice(0, 3).join('/')} ${method} others`;
  return `${subscription} ${method} ${type}${one === undefined ? '' : '/*'}${action === undefined ? '' : `/${action}`}`;
}

/** Seconds, or a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1_000;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
