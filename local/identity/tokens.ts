import { createHash } from 'node:crypto';
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { publicKeyOf, type IssuerSecrets } from './keys.ts';

/** The app roles that the product knows (see the built-in roles of Azure Backup). */
export const ROLES = ['Backup Reader', 'Backup Operator', 'Backup Contributor'] as const;

export type Role = (typeof ROLES)[number];

export const DEFAULT_LIFETIME_SECONDS = 3600;

export interface TokenClaims {
  roles: readonly Role[];
  /** Who calls: a user's or a service principal's name. The object id is derived from it. */
  subject: string;
  /** The client application; default the subject. */
  appId?: string | undefined;
  /** Default 3600. Counted by the system's clock, whatever the platform's says. */
  expiresInSeconds?: number | undefined;
}

export interface Tokens {
  mint: (claims: TokenClaims) => Promise<string>;
  /** Resolves the claims of a token that this issuer signed for `audience` and that is in its time. @throws JOSEError */
  verify: (token: string) => Promise<JWTPayload>;
}

export async function createTokens(
  secrets: IssuerSecrets,
  names: { issuer: string; audience: string; tenantId: string },
): Promise<Tokens> {
  const key = await importJWK(secrets.privateKey, 'RS256');
  const keySet = createLocalJWKSet({ keys: [publicKeyOf(secrets)] });
  return {
    mint({ roles, subject, appId = subject, expiresInSeconds = DEFAULT_LIFETIME_SECONDS }) {
      const nowSeconds = Math.floor(Date.now() / 1000);
      const oid = objectId(subject);
      return new SignJWT({ roles: [...roles], oid, appid: appId, azp: appId, tid: names.tenantId, ver: '1.0' })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: secrets.privateKey.kid })
        .setIssuer(names.issuer)
        .setAudience(names.audience)
        .setSubject(oid)
        .setIssuedAt(nowSeconds)
        .setNotBefore(nowSeconds)
        .setExpirationTime(nowSeconds + expiresInSeconds)
        .sign(key);
    },
    async verify(token) {
      const { payload } = await jwtVerify(token, keySet, {
        issuer: names.issuer,
        audience: names.audience,
        algorithms: ['RS256'],
        requiredClaims: ['exp'],
      });
      return payload;
    },
  };
}

/** A subject's object id: itself if it is a GUID, else a GUID that is the same for the same subject. */
function objectId(subject: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(subject)) return subject.toLowerCase();
  const hash = createHash('sha256').update(subject).digest('hex');
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `5${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`];
  return [...parts, hash.slice(20, 32)].join('-');
}
