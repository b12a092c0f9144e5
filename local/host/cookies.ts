import type { RpcHttpCookie } from './rpc.ts';

const SAME_SITE: Record<string, string> = { lax: 'Lax', strict: 'Strict', explicitNone: 'None' };

/** One Set-Cookie header (RFC 6265, section 4.1) for a cookie that a function returned. */
export function cookieHeader(cookie: RpcHttpCookie): string {
  const parts = [`${encodeURIComponent(cookie.name)}=${encodeURIComponent(cookie.value)}`];
  const expiresSeconds = cookie.expires?.value?.seconds;
  const sameSite = SAME_SITE[cookie.sameSite ?? ''];
  if (cookie.maxAge?.value !== undefined) parts.push(`Max-Age=${cookie.maxAge.value}`);
  if (cookie.domain?.value) parts.push(`Domain=${cookie.domain.value}`);
  if (cookie.path?.value) parts.push(`Path=${cookie.path.value}`);
  if (expiresSeconds !== undefined) parts.push(`Expires=${new Date(expiresSeconds * 1000).toUTCString()}`);
  if (cookie.httpOnly?.value === true) parts.push('HttpOnly');
  if (cookie.secure?.value === true) parts.push('Secure');
  if (sameSite !== undefined) parts.push(`SameSite=${sameSite}`);
  return parts.join('; ');
}
