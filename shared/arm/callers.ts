import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { BackupError } from '../domain/errors.ts';

/** The app roles, each of which may do what those before it may. They are the service's built-in roles. */
export const ROLES = ['Backup Reader', 'Backup Operator', 'Backup Contributor'] as const;
export type Role = (typeof ROLES)[number];

/** Who calls, as its token says. */
export interface Caller {
  readonly name: string;
  readonly roles: readonly Role[];
}

/** Whose tokens are accepted. */
export interface TokenRules {
  readonly issuer: string;
  /** Each is accepted with and without a slash at its end. */
  readonly audiences: readonly string[];
  readonly jwksUrl: string;
}

/**
 * Resolves who sends a request with this `Authorization` header.
 * @throws BackupError AuthenticationFailed without a bearer token, InvalidAuthenticationToken, ExpiredAuthenticationToken
 */
export type Authenticate = (authorization: string | null) => Promise<Caller>;

/** Clocks of issuers and ours may differ by this. */
const CLOCK_TOLERANCE_SECONDS = 60;
/**
 * How an issuer's keys are kept: a token that names an unknown one has them fetched again, but not sooner than this, or forged tokens
 * would make us ask without end; and a key that was withdrawn is believed for so long at most.
 */
const KEY_SET = { cooldownDuration: 5_000, cacheMaxAge: 10 * 60_000 };
const ALGORITHMS = ['RS256', 'PS256', 'ES256'];

/**
 * Checks bearer tokens: signature by the issuer's published keys, issuer, audience, time. The keys are kept, and fetched again when
 * a token names one that is not among them. An issuer that cannot be reached is an outage, not a bad token.
 */
export function authenticator(
  rules: TokenRules,
  keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(rules.jwksUrl), KEY_SET),
): Authenticate {
  const audience = rules.audiences.flatMap((text) => [text.replace(/\/$/, ''), `${text.replace(/\/$/, '')}/`]);
  return async (authorization) => {
    if (authorization === null) throw refused('the Authorization header is missing: expected "Bearer <token>"');
    const token = /^bearer +(\S+)$/i.exec(authorization)?.[1];
    if (token === undefined) throw refused('the Authorization header is not of the form "Bearer <token>"');
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: rules.issuer,
        audience,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      return callerOf(payload);
    } catch (error) {
      if (!(error instanceof errors.JOSEError) || isOutage(error)) throw error;
      const code = error instanceof errors.JWTExpired ? 'ExpiredAuthenticationToken' : 'InvalidAuthenticationToken';
      throw new BackupError(code, `the access token is not accepted: ${error.message}`, { cause: error });
    }
  };
}

/** The issuer did not answer, or not with keys: that says nothing about the token. */
function isOutage(error: errors.JOSEError): boolean {
  return (
    error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || error.code === 'ERR_JOSE_GENERIC'
  );
}

function refused(message: string): BackupError {
  return new BackupError('AuthenticationFailed', message);
}

function callerOf(payload: JWTPayload): Caller {
  const claimed = Array.isArray(payload['roles']) ? (payload['roles'] as unknown[]) : [];
  return { name: payload.sub ?? 'the caller', roles: ROLES.filter((role) => claimed.includes(role)) };
}

/** @throws BackupError AuthorizationFailed naming the role that is needed */
export function requireRole(caller: Caller, needed: Role, what: string): void {
  if (caller.roles.some((role) => ROLES.indexOf(role) >= ROLES.indexOf(needed))) return;
  const has =
    caller.roles.length === 0 ? 'none of the backup roles' : caller.roles.map((role) => `"${role}"`).join(', ');
  throw new BackupError(
    'AuthorizationFailed',
    `${what} needs the app role "${needed}"; the token of ${caller.name} has ${has}`,
  );
}
