import type { Handler } from '../arm/router.ts';
import { ADFS, serveAuthority, tenantAuthority } from './authority.ts';
import { loadSecrets } from './keys.ts';
import { serveLocalToken } from './local-token.ts';
import { createTokens, type Tokens } from './tokens.ts';

export interface IdentityOptions {
  /** Folder for the key and the app's secret. */
  dataDir: string;
  tenantId: string;
  /** What tokens are for; default `https://management.azure.com/`, which Azure's clients ask for unless told otherwise. */
  audience?: string;
}

export interface Identity extends Tokens {
  /** Serves `/local/token` and, under `/adfs/…` and `/{tenantId}/…`, discovery, keys and tokens; else undefined. */
  handle: Handler;
  /**
   * The `iss` of every token. The same for each address `base` of the platform, http or https and whatever port, so that
   * a token got at one is good at all; the key set is found at `jwksPath` under any of them.
   */
  issuer: (base: string) => string;
  audience: string;
  jwksPath: string;
  /** The app's own service principal, for DefaultAzureCredential with AZURE_TENANT_ID=adfs. */
  clientId: string;
  clientSecret: string;
}

const DEFAULT_AUDIENCE = 'https://management.azure.com/';

/**
 * The platform's token issuer, with keys of its own, so that token checks run for real. Tokens live by the system's
 * clock, not the platform's.
 *
 * @throws Error when what is kept in `dataDir` cannot be read
 */
export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const { tenantId, audience = DEFAULT_AUDIENCE } = options;
  const secrets = await loadSecrets(options.dataDir);
  const tokenIssuer = `https://sts.strata.local/${tenantId}/`;
  const tokens = await createTokens(secrets, { issuer: tokenIssuer, audience, tenantId });
  const context = { secrets, tokens, tokenIssuer };
  const authorities = [ADFS, tenantAuthority(tenantId)];
  return {
    ...tokens,
    async handle(request) {
      const { pathname } = new URL(request.url);
      if (pathname === '/local/token') return serveLocalToken(request, tokens);
      for (const paths of authorities) {
        const response = await serveAuthority(request, pathname, paths, context);
        if (response !== undefined) return response;
      }
      return undefined;
    },
    issuer: () => tokenIssuer,
    audience,
    jwksPath: ADFS.keys,
    clientId: secrets.clientId,
    clientSecret: secrets.clientSecret,
  };
}
