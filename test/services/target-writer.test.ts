import { setImmediate as soon } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { RestoreTargets } from '../../shared/disk/restore-targets.ts';
import { TargetWriter } from '../../shared/services/target-writer.ts';

const MIB = 1024 * 1024;
const TARGET = { url: 'http://127.0.0.1/disk', leaseId: 'lease' };

/** A disk whose writes take a while, and take their bytes at the very end, as a slow connection does. */
function slowDisk(bytes: number) {
  const disk = new Uint8Array(bytes);
  const writes: number[] = [];
  const write: RestoreTargets['write'] = async (_, offset, body) => {
    writes.push(body.length);
    for (let wait = (offset / 512) % 7; wait >= 0; wait--) await soon();
    disk.set(body, offset);
  };
  return { disk, writes, targets: { write } as RestoreTargets };
}

it('writes what it was given, however the giver uses its memory afterwards', async () => {
  const runs = Array.from({ length: 40 }, (_, i) => ({
    offset: i * 6 * MIB,
    bytes: [4 * MIB, 16_384, MIB + 512][i % 3]!,
  }));
  const { disk, targets } = slowDisk(240 * MIB);
  const writer = new TargetWriter(targets, TARGET, disk.length);
  const room = new Uint8Array(4 * MIB);
  for (const [i, { offset, bytes }] of runs.entries()) await writer.write(offset, room.fill(i + 1).subarray(0, bytes));
  room.fill(99);
  await writer.finish();
  for (const [i, { offset, bytes }] of runs.entries()) {
    expect(disk.subarray(offset, offset + bytes).every((byte) => byte === i + 1)).toBe(true);
    expect(disk[offset + bytes]).toBe(0);
  }
});

it('puts what adjoins into writes of 4 MiB, cuts what is longer, and leaves out what lies past the end', async () => {
  const { disk, writes, targets } = slowDisk(11 * MIB);
  const writer = new TargetWriter(targets, TARGET, 10 * MIB);
  await writer.write(0, new Uint8Array(MIB).fill(1));
  await writer.write(MIB, new Uint8Array(2 * MIB).fill(2));
  await writer.write(3 * MIB, new Uint8Array(8 * MIB).fill(3));
  await writer.write(10 * MIB, new Uint8Array(MIB).fill(4));
  await writer.finish();
  expect(writes).toEqual([3 * MIB, 4 * MIB, 3 * MIB]);
  for (let at = 0; at < 11; at++) expect([at, disk[at * MIB]]).toEqual([at, at < 1 ? 1 : at < 3 ? 2 : at < 10 ? 3 : 0]);
});
