import { expect, it } from 'vitest';
import type { DiskSnapshots } from '../../shared/disk/disk-snapshots.ts';
import { noChurn } from '../../shared/domain/churn.ts';
import { diskId } from '../../shared/domain/ids.ts';
import type { KnownBlocks } from '../../shared/domain/known-blocks.ts';
import type { PlanDisk } from '../../shared/format/documents.ts';
import { RegionWriter } from '../../shared/services/layer-writer.ts';
import { hashBlock } from '../../shared/services/region-bytes.ts';
import { writeRegion } from '../../shared/services/write-region.ts';
import { readPlan } from '../../shared/services/changed-blocks.ts';
import type { ByteRange } from '../../shared/domain/units.ts';
import { createWorld } from '../support/world.ts';
import { B } from './stage.ts';

/* Runs in which something is audited are read by one request each, and looked at a piece at a time. */

const MIB = 2 ** 20;

it('what is audited and long is a request of its own; all else is cut, and stays in order', () => {
  const window: ByteRange = { start: 1000 * B, end: 2000 * B };
  const read = [
    { start: 0, count: 3 },
    { start: 10, count: 20 },
    { start: 40, count: 20 },
    { start: 70, count: 2 },
  ];
  const plan = readPlan({ read, audited: [{ start: 25, count: 3 }], window }, 8 * B);
  const range = (start: number, count: number): ByteRange => ({
    start: (1000 + start) * B,
    end: (1000 + start + count) * B,
  });
  expect(plan).toEqual([
    { pieces: [{ block: 0, range: range(0, 3) }] },
    { long: { block: 10, range: range(10, 20) } },
    {
      pieces: [
        { block: 40, range: range(40, 8) },
        { block: 48, range: range(48, 8) },
        { block: 56, range: range(56, 4) },
        { block: 70, range: range(70, 2) },
      ],
    },
  ]);
});

it('changes in the middle of a long audit are written, and what was left out is found there, by one request', async () => {
  const blocks = (40 * MIB) / B;
  const { ports, disks, clock } = await createWorld({ regionBytes: 64 * MIB });
  const noise = (seed: number, count: number): Buffer =>
    Buffer.from(Uint32Array.from({ length: (count * B) / 4 }, (_, i) => Math.imul(i + seed, 2_654_435_761)).buffer);
  const url = disks.newUrl();
  await disks.create(url, blocks * B);
  const before = noise(1, blocks);
  await disks.write(url, 0, before);
  const since = await ports.snapshots.take(url, {});
  clock.advance(1000);
  await disks.write(url, 700 * B, noise(5, 1));
  await disks.write(url, 1900 * B, noise(7, 2));
  const snapshot = await ports.snapshots.take(url, {});

  const long: ByteRange[] = [];
  const snapshots: DiskSnapshots = {
    ...ports.snapshots,
    async *changed(now, then, window) {
      for await (const range of ports.snapshots.changed(now, then, window)) if (range.start < 1900 * B) yield range;
    },
    readLong(from, range, take) {
      long.push(range);
      return ports.snapshots.readLong(from, range, take);
    },
  };
  const disk: PlanDisk = {
    disk: diskId('d0'),
    lun: -1,
    name: 'os',
    url,
    createdAt: '',
    sizeBytes: blocks * B,
    snapshot: snapshot.id,
    baseSizeBytes: blocks * B,
    base: null,
    source: 'diff',
    since: since.id,
    reason: '',
  };
  const base: KnownBlocks = {
    extents: [{ start: 0, count: blocks, frame: 0, slot: 0 }],
    hashOf: (at) => hashBlock(before.subarray(at * B, (at + 1) * B)),
  };
  const writer = new RegionWriter({ add: async () => ({ pack: 0, offset: 0 }) });
  const churn = noChurn();
  const work = { region: 0, audit: { start: 0, count: blocks, blocks } };
  const missed = await writeRegion({ ...ports, snapshots }, disk, work, base, writer, churn);
  expect(missed).toMatchObject([{ start: 1900, count: 2 }]);
  expect(long).toEqual([{ start: 0, end: blocks * B }]);
  expect(churn).toMatchObject({ requests: 3, readBlocks: blocks, auditedBlocks: blocks - 1, missedBlocks: 2 });
  const { extents } = await writer.finish();
  expect(extents.map(({ start, count }) => [start, count])).toEqual([
    [700, 1],
    [1900, 2],
  ]);
});
