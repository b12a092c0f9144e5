import { afterAll, beforeAll, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { openFindings } from '../../shared/services/findings.ts';
import { itemKey, pointsPartition } from '../../shared/services/keys.ts';
import { openVault, readItem } from '../../shared/services/vault-of.ts';
import { type VerifyRequest, startVerify } from '../../shared/services/verify.ts';
import { VAULT } from '../support/life.ts';
import { type RealWorld, createRealWorld } from '../support/real-world.ts';

/* Verify, its drill and the healing that follows, over the real adapters and a storage server. */

const KEY = itemKey('app', 'vm');
let world: RealWorld;
let disk: string;

beforeAll(async () => {
  world = await createRealWorld({ regionBytes: 64 * BLOCK_BYTES });
  disk = (await world.createVm('vm', [100 * BLOCK_BYTES]))[0]!;
  await world.protect('vm');
  const bytes = Buffer.from(Array.from({ length: 90 * BLOCK_BYTES }, (_, i) => (i * 3 + (i >> 8)) & 0xff));
  await world.disk(disk).uploadPages(bytes, 0, bytes.length);
  await world.backup('vm');
  await world.disk(disk).uploadPages(Buffer.alloc(2 * BLOCK_BYTES, 9), 3 * BLOCK_BYTES, 2 * BLOCK_BYTES);
  await world.backup('vm');
});

afterAll(() => world.stop());

async function verify(request: VerifyRequest) {
  world.clock.advance(60_000);
  const jobId = await startVerify(world.ports, VAULT, KEY, request, true);
  await world.drain();
  return world.job(jobId);
}

async function partition(): Promise<string> {
  const { row } = await openVault(world.ports, VAULT);
  return pointsPartition(row.containerName, (await readItem(world.ports, VAULT, KEY)).row.itemId);
}

it('a sound vault is sound, and its newest point restores in a drill that leaves nothing', async () => {
  const before = [...(await world.vaultBlobs()).keys()];
  const job = await verify({ deepPercent: 100, drill: 'latest' });
  expect(job).toMatchObject({ status: 'Completed', errors: [], bag: { Findings: '0', 'Regions Checked': '2' } });
  expect(Number(job.bag['Drill Bytes'])).toBeGreaterThan(0);
  const restore = await world.job(job.verify!.drill!.jobId);
  const exists = await world.disk(`${restore.restore!.containerUrl}/vm-0.vhd`).exists();
  expect(exists).toBe(false);
  await world.sweep();
  expect([...(await world.vaultBlobs()).keys()]).toEqual(before);
});

it('what is gone is found with the points that it touches, and the next backup brings it back', async () => {
  const { container } = await openVault(world.ports, VAULT);
  const [first] = await world.points('vm');
  const lost = [...(await world.vaultBlobs()).keys()].find(
    (name) => /000001\..*\.(pack|slab)$/.test(name) || name.endsWith('.slab'),
  )!;
  await container.delete(lost);
  expect(await verify({ deepPercent: 100 })).toMatchObject({ status: 'CompletedWithWarnings' });
  const found = (await openFindings(world.ports, await partition())).map(({ row }) => row);
  expect(found.length).toBeGreaterThan(0);
  for (const row of found)
    expect(row).toMatchObject({ object: lost, code: 'VaultObjectMissing', newestIsSound: false });
  expect(found[0]!.points[0]).toBe(first!.point);

  const { point } = await world.backup('vm');
  await verify({ deepPercent: 100 });
  const after = (await openFindings(world.ports, await partition())).map(({ row }) => row);
  expect(after.every(({ newestIsSound, points }) => newestIsSound && !points.includes(point!))).toBe(true);
  const image = await world.disk(disk).downloadToBuffer(0, 100 * BLOCK_BYTES);
  expect(await verify({ deepBytes: 0, drill: point! })).toMatchObject({ bag: { 'Drill Recovery Point': point } });
  for (const { set } of await world.points('vm'))
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  const { disks } = await world.restore('vm', point!);
  expect(Buffer.compare(disks[0]!, image)).toBe(0);
});
