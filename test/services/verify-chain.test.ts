import { expect, it } from 'vitest';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { decodeDocument, encodeDocument } from '../../shared/format/document.ts';
import { chainRecord } from '../../shared/format/documents.ts';
import { verifySample } from '../../shared/services/verify.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { VAULT, type World } from '../support/world.ts';
import { type SmallVault, findings, smallVault } from './verify-stage.ts';

/* Damage of the chain itself: without its newest record nobody knows which points there are. */

/** The nightly verification, and the jobs that it has made. */
async function night(world: World): Promise<JobRow[]> {
  world.clock.advance(60_000);
  const before = world.clock.now();
  await verifySample(world.ports);
  await world.drain();
  const jobs: JobRow[] = [];
  for await (const { row } of world.ports.catalog.jobs.list(VAULT))
    if (row.operation === 'Verify' && row.startedAt >= before) jobs.push(row);
  return jobs;
}

const records = ({ blobs }: SmallVault): [string, StoredBlob][] =>
  [...blobs].filter(([name]) => name.includes('/chain/')).sort(([a], [b]) => (a < b ? -1 : 1));

it.each<[string, string, (vault: SmallVault) => void]>([
  [
    'that is gone as a whole',
    'VaultObjectMissing',
    ({ blobs }) => {
      for (const name of blobs.keys()) if (name.includes('/chain/')) blobs.delete(name);
    },
  ],
  [
    'whose newest record is cut',
    'DocumentCorrupt',
    (vault) => {
      const [name, blob] = records(vault).at(-1)!;
      vault.blobs.set(name, { ...blob, body: blob.body.subarray(0, 100) });
    },
  ],
  [
    'whose newest record is of a later version',
    'FormatUnsupported',
    (vault) => {
      const [name, blob] = records(vault).at(-1)!;
      const { format, ...record } = decodeDocument(name, blob.body, chainRecord);
      vault.blobs.set(name, { ...blob, body: encodeDocument(name, { format: format + 8, ...record }) });
    },
  ],
])('a chain %s is told of by the next night, with the points that it takes along', async (_, code, harm) => {
  const vault = await smallVault();
  const whole = records(vault);
  harm(vault);
  expect(await night(vault.world)).toMatchObject([
    { status: 'CompletedWithWarnings', errors: [{ code: 'VaultDamaged' }] },
  ]);
  expect(await findings(vault)).toMatchObject([
    { kind: 'document', code, object: expect.stringContaining('/chain/'), points: [...vault.images.keys()] },
  ]);
  for (const [name, blob] of whole) vault.blobs.set(name, blob);
  expect(await night(vault.world)).toMatchObject([{ status: 'Completed', errors: [] }]);
  expect(await findings(vault)).toEqual([]);
});
