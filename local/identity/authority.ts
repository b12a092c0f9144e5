import { createHash, timingSafeEqual } from 'node:crypto';
import { publicBase } from '../arm/router.ts';
import { publicKeyOf, type IssuerSecrets } from './keys.ts';
import { DEFAULT_LIFETIME_SECONDS, type Tokens } from './tokens.ts';

/** Paths of one OpenID Connect authority. */
interface AuthorityPaths {
  issuer: string;
  discovery: string;
  keys: string;
  token: string;
  authorize: string;
}

/** An authority that ends in `/adfs` is asked directly; for others clients first ask the public cloud about it. */
export const ADFS: AuthorityPaths = {
  issuer: '/adfs',
  discovery: '/adfs/.well-known/openid-configuration',
  keys: '/adfs/discovery/keys',
  token: '/adfs/oauth2/token',
  authorize: '/adfs/oauth2/authorize',
};

/** Entra ID's layout for a tenant. */
export function tenantAuthority(tenantId: string): AuthorityPaths {
  return {
    issuer: `/${tenantId}/v2.0`,
    discovery: `/${tenantId}/v2.0/.well-known/openid-configuration`,
    keys: `/${tenantId}/discovery/v2.0/keys`,
    token: `/${tenantId}/oauth2/v2.0/token`,
    authorize: `/${tenantId}/oauth2/v2.0/authorize`,
  };
}

export interface AuthorityContext {
  secrets: IssuerSecrets;
  tokens: Tokens;
  tokenIssuer: string;
}

/** Discovery, keys and the client-credentials grant of one authority; undefined for a path that is none of these. */
export async function serveAuthority(
  request: Request,
  pathname: string,
  paths: AuthorityPaths,
  context: AuthorityContext,
): Promise<Response | undefined> {
  const at = (path: string) => pathname.toLowerCase() === path.toLowerCase();
  if (at(paths.discovery)) return Response.json(discovery(publicBase(request), paths, context.tokenIssuer));
  if (at(paths.keys)) return Response.json({ keys: [publicKeyOf(context.secrets)] });
  if (at(paths.token)) return serveToken(request, context);
  if (at(paths.authorize)) {
    return oauthError(400, 'unsupported_response_type', 'nobody signs in here; use the client credentials grant');
  }
  return undefined;
}

/**
 * `issuer` lies under the address that was asked, as clients check. The tokens' own issuer is another and the same at
 * every address, so that a token from the http front is good at the https one; AD FS tells the two apart in the same way.
 */
function discovery(base: string, paths: AuthorityPaths, tokenIssuer: string): object {
  return {
    issuer: `${base}${paths.issuer}`,
    access_token_issuer: tokenIssuer,
    authorization_endpoint: `${base}${paths.authorize}`,
    token_endpoint: `${base}${paths.token}`,
    jwks_uri: `${base}${paths.keys}`,
    token_endpoint_auth_methods_supported: ['client_secret_post'],
    grant_types_supported: ['client_credentials'],
    response_types_supported: ['token'],
    response_modes_supported: ['query'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    scopes_supported: ['openid'],
    claims_supported: ['aud', 'iss', 'iat', 'nbf', 'exp', 'sub', 'oid', 'tid', 'appid', 'roles'],
  };
}

/**
 * The client-credentials grant. The app's own client must know its secret. Any other client id is a service principal
 * that its user made up, with any secret: who can reach this endpoint could get the same token from /local/token.
 * All tokens are for the one audience, whatever scope was asked: there is one API in this tenant.
 */
async function serveToken(request: Request, { secrets, tokens }: AuthorityContext): Promise<Response> {
  if (request.method !== 'POST') return oauthError(405, 'invalid_request', 'the token endpoint takes POST');
  const form = new URLSearchParams(await request.text());
  const grant = form.get('grant_type');
  if (grant !== 'client_credentials') {
    return oauthError(
      400,
      'unsupported_grant_type',
      `grant_type is '${grant ?? ''}'; it must be 'client_credentials', form-encoded in the body`,
    );
  }
  const clientId = form.get('client_id') ?? '';
  const clientSecret = form.get('client_secret') ?? '';
  if (clientId === '' || clientSecret === '') {
    return oauthError(400, 'invalid_request', 'client_id and client_secret are both required');
  }
  if (clientId.toLowerCase() === secrets.clientId && !sameSecret(clientSecret, secrets.clientSecret)) {
    return oauthError(401, 'invalid_client', `the secret of client '${clientId}' is wrong`);
  }
  const token = await tokens.mint({ subject: clientId, appId: clientId, roles: ['Backup Contributor'] });
  return Response.json(
    { token_type: 'Bearer', expires_in: DEFAULT_LIFETIME_SECONDS, access_token: token },
    { headers: { 'cache-control': 'no-store' } },
  );
}

function sameSecret(given: string, kept: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(kept));
}

/** RFC 6749, section 5.2. */
function oauthError(status: number, error: string, description: string): Response {
  return Response.json({ error, error_description: description }, { status });
}
