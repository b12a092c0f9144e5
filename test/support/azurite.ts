import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import { startStorage } from '../../local/storage/server.ts';

/** A storage server of a test's own, on a data folder that goes when it stops. */
export interface TestStorage {
  /** `http://127.0.0.1:<port>/<account>` */
  readonly blobServiceUrl: string;
  readonly credential: StorageSharedKeyCredential;
  readonly stop: () => Promise<void>;
}

const ACCOUNT = 'devstoreaccount1';

/** `stock` is Azurite as published, `completed` as the local platform runs it. A server that does not start fails the test. */
export async function startTestStorage(mode: 'stock' | 'completed'): Promise<TestStorage> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-storage-'));
  const key = Buffer.alloc(64, 7).toString('base64');
  const server = await startStorage({
    dataDir,
    ports: { blob: 0, queue: 0, table: 0 },
    accounts: [{ account: ACCOUNT, kind: 'standard', key }],
    mode,
  });
  return {
    blobServiceUrl: `http://127.0.0.1:${server.blobPort}/${ACCOUNT}`,
    credential: new StorageSharedKeyCredential(ACCOUNT, key),
    async stop() {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
