import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import * as der from './der.ts';
import { readFileIfAny, writeFileAtomic } from './files.ts';

/** The TLS of a local platform: a development CA of its own and a server certificate that the CA signed. PEM texts. */
export interface Certificates {
  readonly caFile: string;
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** Apple's and Chromium's verifiers refuse server certificates that last longer than 825 days. */
const SERVER_DAYS = 800;
const RENEW_DAYS = 30;

/**
 * The certificates in `folder`, made at the first call and kept; what expires within 30 days is made anew. The server's is for
 * 127.0.0.1, ::1 and localhost. Both carry the key identifiers and usages that strict verifiers (Python 3.13) ask for.
 */
export function ensureCertificates(folder: string, now = new Date()): Certificates {
  const caFile = join(folder, 'ca.pem');
  const caKeyFile = join(folder, 'ca.key');
  const certFile = join(folder, 'server.pem');
  const keyFile = join(folder, 'server.key');

  let caCert = readFileIfAny(caFile);
  let caKey = readFileIfAny(caKeyFile);
  if (caCert === undefined || caKey === undefined || !isFresh(caCert, now)) {
    const { publicKey, privateKey } = newKeys();
    const name = `Strata development CA ${randomBytes(4).toString('hex')}`;
    caCert = issue({
      name,
      publicKey,
      issuer: name,
      issuerKey: privateKey,
      issuerPublicKey: publicKey,
      days: CA_DAYS,
      isCa: true,
      now,
    });
    caKey = pem(privateKey);
    writeFileAtomic(caKeyFile, caKey, 0o600);
    writeFileAtomic(caFile, caCert);
  }

  let cert = readFileIfAny(certFile);
  let key = readFileIfAny(keyFile);
  const ca = new X509Certificate(caCert);
  if (
    cert === undefined ||
    key === undefined ||
    !isFresh(cert, now) ||
    !new X509Certificate(cert).verify(ca.publicKey)
  ) {
    const { publicKey, privateKey } = newKeys();
    const issuer = ca.subject.replace(/^CN=/, '');
    const issuerKey = createPrivateKey(caKey);
    cert = issue({
      name: 'localhost',
      publicKey,
      issuer,
      issuerKey,
      issuerPublicKey: ca.publicKey,
      days: SERVER_DAYS,
      isCa: false,
      now,
    });
    key = pem(privateKey);
    writeFileAtomic(keyFile, key, 0o600);
    writeFileAtomic(certFile, cert);
  }
  return { caFile, cert, key };
}

function isFresh(cert: string, now: Date): boolean {
  return new X509Certificate(cert).validToDate.getTime() - now.getTime() > RENEW_DAYS * DAY_MS;
}

function newKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** Writes and signs an X.509 version 3 certificate (RFC 5280) with ECDSA and SHA-256. */
function issue(options: {
  name: string;
  publicKey: KeyObject;
  issuer: string;
  issuerKey: KeyObject;
  issuerPublicKey: KeyObject;
  days: number;
  isCa: boolean;
  now: Date;
}): string {
  const { name, publicKey, issuer, issuerKey, issuerPublicKey, days, isCa, now } = options;
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.3.2'));
  // A positive serial number of 16 bytes; clocks that run late still find the certificate valid.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const from = new Date(now.getTime() - DAY_MS);
  const until = new Date(now.getTime() + days * DAY_MS);
  const usage = isCa ? [0x06, 1] : [0x80, 7];
  const extensions = [
    extension('2.5.29.19', true, isCa ? der.sequence(der.boolean(true)) : der.sequence()),
    extension('2.5.29.15', true, der.bitString(Buffer.from([usage[0] as number]), usage[1])),
    extension('2.5.29.14', false, der.octetString(keyId(publicKey))),
    extension('2.5.29.35', false, der.sequence(der.context(0, keyId(issuerPublicKey), false))),
    ...(isCa
      ? []
      : [
          extension('2.5.29.37', false, der.sequence(der.oid('1.3.6.1.5.5.7.3.1'))),
          extension(
            '2.5.29.17',
            false,
            der.sequence(
              der.context(2, Buffer.from('localhost'), false),
              der.context(7, Buffer.from([127, 0, 0, 1]), false),
              der.context(7, Buffer.from([...Array<number>(15).fill(0), 1]), false),
            ),
          ),
        ]),
  ];
  const body = der.sequence(
    der.context(0, der.integer(Buffer.from([2]))),
    der.integer(serial),
    algorithm,
    distinguishedName(issuer),
    der.sequence(der.time(from), der.time(until)),
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der.context(3, der.sequence(...extensions)),
  );
  const signed = der.sequence(body, algorithm, der.bitString(sign('sha256', body, issuerKey)));
  const lines = signed.toString('base64').replace(/.{1,64}/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`;
}

function distinguishedName(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.utf8String(commonName))));
}

function extension(id: string, isCritical: boolean, value: Uint8Array): Buffer {
  return der.sequence(der.oid(id), ...(isCritical ? [der.boolean(true)] : []), der.octetString(value));
}

/** SHA-1 of the key's bits, RFC 5280's first method. */
function keyId(key: KeyObject): Buffer {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  return createHash('sha1').update(point).digest();
}
