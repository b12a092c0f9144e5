/** A request as the API sees it, whatever server brought it. Azure Functions' HttpRequest fits. */
export interface ArmRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  /** Read once at most; null when there is none. */
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** What the API says. A body is JSON; without one nothing is sent. */
export interface ArmAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** An answer in the form that Azure Functions takes. */
export interface HttpAnswer {
  status: number;
  headers: Record<string, string>;
  body?: string;
}

export function toHttp({ status, headers = {}, body }: ArmAnswer): HttpAnswer {
  if (body === undefined) return { status, headers: { ...headers } };
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(body),
  };
}

export const ok = (body: unknown): ArmAnswer => ({ status: 200, body });
export const noContent: ArmAnswer = { status: 204 };

/**
 * The address under which the caller knows this API, without a slash at the end: the setting, else what a front has forwarded, else
 * the request's own.
 */
export function publicBase(request: ArmRequest, publicUrl: string | undefined): string {
  if (publicUrl !== undefined && publicUrl !== '') return publicUrl.replace(/\/+$/, '');
  const url = new URL(request.url);
  const protocol = first(request.headers.get('x-forwarded-proto')) ?? url.protocol.slice(0, -1);
  const host = first(request.headers.get('x-forwarded-host')) ?? url.host;
  return `${protocol}://${host}`;
}

function first(header: string | null): string | undefined {
  return header?.split(',')[0]?.trim() || undefined;
}
