import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectionString } from '../../local/storage/accounts.ts';
import { startStorage } from '../../local/storage/server.ts';

/** A real storage account for a contract suite. */
export interface ContractStorage {
  readonly connectionString: string;
  stop(): Promise<void>;
}

/**
 * Azurite exactly as published, on free ports and a folder of its own; or, when STRATA_TEST_STORAGE holds the connection
 * string of a real account, that account. @throws when neither can be had: a contract is never skipped
 */
export async function contractStorage(): Promise<ContractStorage> {
  const real = process.env['STRATA_TEST_STORAGE'];
  if (real !== undefined && real !== '') return { connectionString: real, stop: async () => undefined };
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-contract-'));
  const account = { account: 'contract', kind: 'standard', key: randomBytes(64).toString('base64') } as const;
  const server = await startStorage({
    dataDir,
    ports: { blob: 0, queue: 0, table: 0 },
    accounts: [account],
    mode: 'stock',
  });
  return {
    connectionString: connectionString(account, server),
    async stop() {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
