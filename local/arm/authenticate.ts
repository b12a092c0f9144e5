import { ArmError } from './errors.ts';

/** Resolves the claims of a good token; rejects with the reason for any other. */
export type TokenVerifier = (token: string) => Promise<unknown>;

const CHALLENGE = { 'www-authenticate': 'Bearer error="invalid_token"' };

/** @throws ArmError 401 unless the request carries a bearer token that `verify` accepts. */
export async function authenticate(request: Request, verify: TokenVerifier): Promise<void> {
  const header = request.headers.get('authorization');
  if (header === null) {
    throw new ArmError(
      401,
      'AuthenticationFailed',
      "Authentication failed. The 'Authorization' header is missing.",
      CHALLENGE,
    );
  }
  const token = /^bearer +(\S+)$/i.exec(header)?.[1];
  if (token === undefined) {
    throw new ArmError(
      401,
      'AuthenticationFailed',
      "Authentication failed. The 'Authorization' header is provided in an invalid format: it must be 'Bearer <token>'.",
      CHALLENGE,
    );
  }
  try {
    await verify(token);
  } catch (error) {
    const expired = (error as { code?: unknown }).code === 'ERR_JWT_EXPIRED';
    throw new ArmError(
      401,
      expired ? 'ExpiredAuthenticationToken' : 'InvalidAuthenticationToken',
      `The access token is ${expired ? 'expired' : 'invalid'}: ${(error as Error).message}.`,
      CHALLENGE,
    );
  }
}
