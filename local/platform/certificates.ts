import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  webcrypto,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import 'reflect-metadata'; // what @peculiar/x509 is built on
import * as x509 from '@peculiar/x509';
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
export async function ensureCertificates(folder: string, now = new Date()): Promise<Certificates> {
  const caFile = join(folder, 'ca.pem');
  const caKeyFile = join(folder, 'ca.key');
  const certFile = join(folder, 'server.pem');
  const keyFile = join(folder, 'server.key');

  let caCert = readFileIfAny(caFile);
  let caKey = readFileIfAny(caKeyFile);
  if (caCert === undefined || caKey === undefined || !isFresh(caCert, now)) {
    const { publicKey, privateKey } = newKeys();
    const name = `Strata development CA ${randomBytes(4).toString('hex')}`;
    caCert = await issue({
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
    cert = await issue({
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

/** Issues an X.509 certificate (RFC 5280) signed with ECDSA and SHA-256. */
async function issue(options: {
  name: string;
  publicKey: KeyObject;
  issuer: string;
  issuerKey: KeyObject;
  issuerPublicKey: KeyObject;
  days: number;
  isCa: boolean;
  now: Date;
}): Promise<string> {
  const { name, publicKey, issuer, issuerKey, issuerPublicKey, days, isCa, now } = options;
  const subjectKey = await cryptoKey(publicKey);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `4${randomBytes(16).toString('hex').slice(1)}`, // positive
    subject: `CN=${name}`,
    issuer: `CN=${issuer}`,
    notBefore: new Date(now.getTime() - DAY_MS), // clocks that run late still find it valid
    notAfter: new Date(now.getTime() + days * DAY_MS),
    publicKey: subjectKey,
    signingKey: await cryptoKey(issuerKey),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      new x509.KeyUsagesExtension(isCa ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(subjectKey),
      await x509.AuthorityKeyIdentifierExtension.create(await cryptoKey(issuerPublicKey)),
      ...(isCa
        ? []
        : [
            new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
            new x509.SubjectAlternativeNameExtension([
              { type: 'dns', value: 'localhost' },
              { type: 'ip', value: '127.0.0.1' },
              { type: 'ip', value: '::1' },
            ]),
          ]),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** The same key in the form that the library takes. */
async function cryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const isPrivate = key.type === 'private';
  const bytes = key.export({ type: isPrivate ? 'pkcs8' : 'spki', format: 'der' } as { type: 'spki'; format: 'der' });
  return webcrypto.subtle.importKey(isPrivate ? 'pkcs8' : 'spki', bytes, { name: 'ECDSA', namedCurve: 'P-256' }, true, [
    isPrivate ? 'sign' : 'verify',
  ]);
}
