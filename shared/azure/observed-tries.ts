import type { HttpOperationResponse, RequestPolicy, RequestPolicyFactory, WebResource } from '@azure/storage-blob';

/** Who wants to know of each try of a request, the SDK's own retries included. */
export interface TryWatch {
  /** Resolves when the next try may be made. */
  ready(url: string): Promise<void>;
  /** What was answered; `retryAfterMs` where the answer says it. */
  answered(url: string, status: number, retryAfterMs: number | undefined): void;
}

/**
 * Stands below the SDK's retries, so that these cannot hide a refusal, and do not come before the storage wants to be asked again. It is
 * by this class's name that the SDK puts a policy there rather than above them; a contract test holds it to that.
 */
export class InjectorPolicyFactory implements RequestPolicyFactory {
  readonly #watch: TryWatch;
  readonly #isHeld: (method: string) => boolean;

  /** By default reads alone wait: a snapshot is taken when it is due. */
  constructor(watch: TryWatch, isHeld: (method: string) => boolean = (method) => method === 'GET') {
    this.#watch = watch;
    this.#isHeld = isHeld;
  }

  create(next: RequestPolicy): RequestPolicy {
    const watch = this.#watch;
    const isHeld = this.#isHeld;
    return {
      async sendRequest(request: WebResource): Promise<HttpOperationResponse> {
        if (isHeld(request.method)) await watch.ready(request.url);
        const response = await next.sendRequest(request);
        const retryAfter = Number(response.headers.get('retry-after') ?? NaN);
        watch.answered(request.url, response.status, Number.isFinite(retryAfter) ? retryAfter * 1000 : undefined);
        return response;
      },
    };
  }
}
