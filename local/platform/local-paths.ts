import type { Handler } from './front.ts';

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);
const isLocalPath = (url: URL) => url.pathname.startsWith('/local/');

/**
 * `/local/` hands out tokens and moves the clock to whoever can reach it. A web page in the user's browser can, too: requests that
 * a page of another site makes, or that name this server by another site's name, are refused.
 */
export const guardLocalPaths: Handler = async (request) => {
  const url = new URL(request.url);
  if (!isLocalPath(url)) return undefined;
  const origin = request.headers.get('origin');
  const isOwn = (host: string | undefined) => host !== undefined && LOOPBACK.has(host);
  if (isOwn(url.hostname) && (origin === null || isOwn(URL.parse(origin)?.hostname))) return undefined;
  return refuse(403, 'Forbidden', '/local/ answers to 127.0.0.1 and localhost alone');
};

/** The end of the line for `/local/`: the app has no say there. */
export const noSuchLocalPath: Handler = async (request) =>
  isLocalPath(new URL(request.url)) ? refuse(404, 'NotFound', 'there are /local/clock and /local/token') : undefined;

function refuse(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}
