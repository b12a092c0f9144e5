import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { ensureCertificates } from '../../local/platform/certificates.ts';
import { type Handler, openFront } from '../../local/platform/front.ts';

export interface ArmServer {
  /** `https://127.0.0.1:<port>`. */
  readonly endpoint: string;
  close(): Promise<void>;
}

/**
 * Serves `handlers` as the local platform does, over TLS, since the SDKs send no token without it. This process trusts the
 * server's CA from now on.
 */
export async function serveArm(handlers: readonly Handler[]): Promise<ArmServer> {
  const folder = await mkdtemp(join(tmpdir(), 'strata-arm-'));
  const tls = await ensureCertificates(folder);
  setDefaultCACertificates([...getCACertificates('default'), await readFile(tls.caFile, 'utf8')]);
  const front = await openFront({ httpPort: 0, httpsPort: 0, tls, handlers, hostPort: () => undefined });
  return {
    endpoint: `https://127.0.0.1:${front.httpsPort}`,
    async close() {
      await front.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
