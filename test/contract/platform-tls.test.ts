import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureCertificates } from '../../local/platform/certificates.ts';

const DAY_MS = 86_400_000;

describe('the development certificates', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'strata-tls-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);
  const caOf = ({ caFile }: { caFile: string }) => new X509Certificate(readFileSync(caFile));

  it('are a CA and a server certificate for this machine', async () => {
    const made = await ensureCertificates(dir);
    const [ca, server] = [caOf(made), new X509Certificate(made.cert)];
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(server.ca).toBe(false);
    expect(server.checkIssued(ca)).toBe(true);
    expect(server.verify(ca.publicKey)).toBe(true);
    expect(server.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(server.checkIP('::1')).toBe('::1');
    expect(server.checkHost('localhost')).toBe('localhost');
    expect(server.checkHost('example.com')).toBeUndefined();
    for (const key of ['ca.key', 'server.key']) expect(statSync(join(dir, key)).mode & 0o077).toBe(0);
  });

  it('are kept, and made anew when they run out', async () => {
    const first = await ensureCertificates(dir);
    const ca = caOf(first).fingerprint256;
    expect((await ensureCertificates(dir)).cert).toBe(first.cert);
    const renewed = await ensureCertificates(dir, inDays(780));
    expect(renewed.cert).not.toBe(first.cert);
    expect(caOf(renewed).fingerprint256).toBe(ca);
    const years = await ensureCertificates(dir, inDays(3640));
    expect(caOf(years).fingerprint256).not.toBe(ca);
    expect(new X509Certificate(years.cert).verify(caOf(years).publicKey)).toBe(true);
  });

  it('follow a CA that somebody deleted', async () => {
    const first = await ensureCertificates(dir);
    rmSync(first.caFile);
    const second = await ensureCertificates(dir);
    expect(new X509Certificate(second.cert).verify(caOf(second).publicKey)).toBe(true);
  });
});
