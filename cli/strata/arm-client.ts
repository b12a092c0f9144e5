import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { addressFrom, jsonOf, parsed } from './answer.ts';
import type { Connection } from './connection.ts';
import { RefusedError, UnreachableError } from './errors.ts';

const API_VERSION = '2023-06-01';
/** Between two looks at an operation that does not say when to look again. */
const LOOK_MS = 2_000;
/** A service that starts anew, or is asked too much, gets so many more tries. */
const TRIES = 20;

const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
const operation = z.object({
  status: z.string(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
});
export type Operation = z.infer<typeof operation>;

/** Calls the service as any client does: paths begin with `/subscriptions`, the api-version is added. */
export class ArmClient {
  readonly #connection: Connection;
  #token: string | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws RefusedError, UnreachableError, as all methods */
  get(path: string, query: Readonly<Record<string, string>> = {}): Promise<unknown> {
    return this.#json('GET', this.#url(path, query));
  }

  post(path: string, body: object = {}): Promise<unknown> {
    return this.#json('POST', this.#url(path), body);
  }

  /** Every entry of a list, page by page. */
  async *list(path: string, query: Readonly<Record<string, string>> = {}): AsyncGenerator<unknown> {
    const list = z.object({ value: z.array(z.unknown()), nextLink: z.string().nullish() });
    let url: URL | undefined = this.#url(path, query);
    while (url !== undefined) {
      const page: z.infer<typeof list> = parsed(list, await this.#json('GET', url));
      yield* page.value;
      url = typeof page.nextLink === 'string' ? addressFrom(page.nextLink) : undefined;
    }
  }

  /**
   * Starts a long-running operation by POST and follows it to its end, by `Azure-AsyncOperation` and at the pace that the service
   * asks for; `onLook` is told at each look. Resolves what stands at `Location` then, or the answer of a call that was done at once.
   * An operation that failed resolves too, so that its report can be shown: `failure` says what the service said.
   */
  async run(
    path: string,
    body: object = {},
    onLook: (seen: Operation) => void = () => undefined,
  ): Promise<{ result: unknown; failure: string | undefined }> {
    const accepted = await this.#send('POST', this.#url(path), body);
    const statusUrl = accepted.headers.get('azure-asyncoperation');
    const location = accepted.headers.get('location');
    if (accepted.status !== 202 || statusUrl === null) return { result: await jsonOf(accepted), failure: undefined };
    await delay(pauseOf(accepted));
    for (;;) {
      const answer = await this.#send('GET', addressFrom(statusUrl));
      const seen = parsed(operation, await jsonOf(answer));
      onLook(seen);
      if (/^(succeeded|failed|cancell?ed)$/i.test(seen.status)) {
        const { error, status } = seen;
        const said = error === undefined ? `the operation is ${status}` : `${error.code}: ${error.message}`;
        return {
          result: location === null ? undefined : await this.#json('GET', addressFrom(location)),
          failure: /^succeeded$/i.test(status) ? undefined : said,
        };
      }
      await delay(pauseOf(answer));
    }
  }

  #url(path: string, query: Readonly<Record<string, string>> = {}): URL {
    const url = new URL(`${this.#connection.endpoint}${path}`);
    for (const [name, value] of Object.entries({ 'api-version': API_VERSION, ...query }))
      url.searchParams.set(name, value);
    return url;
  }

  async #json(method: string, url: URL, body?: object): Promise<unknown> {
    return jsonOf(await this.#send(method, url, body));
  }

  async #send(method: string, url: URL, body?: object): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      this.#token ??= await this.#connection.token();
      const answer = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }).catch((cause: unknown) => {
        throw new UnreachableError(`${url.origin} does not answer: ${reasonOf(cause)}`, { cause });
      });
      if (answer.ok) return answer;
      // A token may have ended while an operation was followed. What is passing is tried again.
      if (answer.status === 401 && attempt === 1) this.#token = undefined;
      else if ([429, 503].includes(answer.status) && attempt < TRIES) await delay(pauseOf(answer));
      else if (answer.status === 503) throw new UnreachableError(`${method} ${url.pathname}: ${await told(answer)}`);
      else throw new RefusedError(`${method} ${url.pathname}: ${await told(answer)}`);
    }
  }
}

async function told(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    const { code, message } = errorBody.parse(JSON.parse(text)).error;
    return `${answer.status} ${code}: ${message}`;
  } catch {
    return `${answer.status} ${text.slice(0, 200)}`;
  }
}

function pauseOf(answer: Response): number {
  const seconds = Number(answer.headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : LOOK_MS;
}

function reasonOf(cause: unknown): string {
  const { code } = ((cause as Error).cause ?? {}) as { code?: string };
  return code ?? String(cause);
}
