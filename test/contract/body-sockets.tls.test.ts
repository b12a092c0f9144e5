import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, getCACertificates, setDefaultCACertificates } from 'node:tls';
import { expect, it } from 'vitest';
import { ensureCertificates } from '../../local/platform/certificates.ts';
import { requestBody } from '../../shared/azure/body-sockets.ts';

it('bodies come over TLS from a server that the machine trusts, and from no other', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'strata-body-'));
  const { cert, key, caFile } = await ensureCertificates(dir);
  const bytes = 3_000_000;
  let connections = 0;
  const server = createServer({ cert, key }, (socket) => {
    connections += 1;
    socket.on('data', () => {
      socket.write(`HTTP/1.1 206 Partial Content\r\nContent-Length: ${bytes}\r\n\r\n`);
      socket.write(new Uint8Array(bytes).fill(7));
    });
    socket.on('error', () => undefined);
  });
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const asked = async (host: string) => {
      const into = new Uint8Array(bytes);
      const url = new URL(`https://${host}:${port}/c/b`);
      const answer = await requestBody({ url, headers: {}, into, abortSignal: AbortSignal.timeout(20_000) });
      return { ...answer, isRight: into.every((byte) => byte === 7) };
    };
    expect(await asked('127.0.0.1')).toEqual({ isFilled: false, isRight: false });
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(caFile, 'utf8')]);
    connections = 0;
    for (const host of ['127.0.0.1', '127.0.0.1', 'localhost', 'localhost'])
      expect(await asked(host)).toEqual({ status: 206, isFilled: true, isRight: true });
    expect(connections).toBe(2);
  } finally {
    server.close();
    await rm(dir, { recursive: true });
  }
});
