import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import * as z from 'zod';
import { readFileIfAny, writeFileAtomic } from '../platform/files.ts';

const secretsSchema = z.object({
  version: z.literal(1),
  /** An RSA private key; `kid` is the thumbprint of its public part (RFC 7638). */
  privateKey: z.looseObject({ kty: z.literal('RSA'), kid: z.string(), n: z.string(), e: z.string(), d: z.string() }),
  /** The app's own service principal. */
  clientId: z.string(),
  clientSecret: z.string(),
});

/** What the issuer keeps from start to start. */
export type IssuerSecrets = z.infer<typeof secretsSchema>;

const RSA_BITS = 2048;
const OWNER_ONLY = 0o600;

/**
 * The signing key and the app's secret, made at the first start and kept in `identity.json`, readable by its owner alone.
 * @throws Error naming the file when it cannot be understood
 */
export async function loadSecrets(dataDir: string): Promise<IssuerSecrets> {
  const path = join(dataDir, 'identity.json');
  const text = readFileIfAny(path);
  if (text !== undefined) {
    try {
      return secretsSchema.parse(JSON.parse(text));
    } catch (error) {
      throw new Error(`${path} is damaged or of another version; delete it to begin anew`, { cause: error });
    }
  }
  const secrets = await newSecrets();
  writeFileAtomic(path, `${JSON.stringify(secrets, undefined, 1)}\n`, OWNER_ONLY);
  return secrets;
}

async function newSecrets(): Promise<IssuerSecrets> {
  const { privateKey } = await generateKeyPair('RS256', { modulusLength: RSA_BITS, extractable: true });
  const jwk = await exportJWK(privateKey);
  return secretsSchema.parse({
    version: 1,
    privateKey: { ...jwk, kid: await calculateJwkThumbprint(jwk) },
    clientId: randomUUID(),
    clientSecret: randomBytes(32).toString('base64url'),
  });
}

/** The public part of the key, as a key set publishes it. */
export function publicKeyOf({ privateKey: { kty, kid, n, e } }: IssuerSecrets): JWK {
  return { kty, kid, n, e, use: 'sig', alg: 'RS256' };
}
