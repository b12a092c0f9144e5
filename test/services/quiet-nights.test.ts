import { expect, it } from 'vitest';
import { gatedPorts } from '../support/gated-ports.ts';
import { DAY_MS } from '../support/world.ts';
import { B, block, live, stage } from './stage.ts';
import type { WorldOptions } from '../support/world.ts';

/* A night in which nothing changes costs what a disk has, not what it has been through. */

/** Calls of ports by their names, and the names of blobs that were read and written. */
function counting(): { calls: string[]; wrapHandlers: NonNullable<WorldOptions['wrapHandlers']> } {
  const calls: string[] = [];
  const before = (call: string, [name]: readonly unknown[]): void =>
    void calls.push(call.startsWith('vault.') ? `${call} ${String(name)}` : call);
  return { calls, wrapHandlers: (ports) => gatedPorts(ports, { before, after: () => undefined }) };
}

it('after many quiet nights another reads the first manifest and the last, and writes a manifest and a record', async () => {
  const { calls, wrapHandlers } = counting();
  const { world, disk, images, backUp } = await stage({ wrapHandlers, onTheSpotBytes: 1024 * B });
  await world.disks.write(disk, 0, block(1, 6));
  for (let night = 0; night < 8; night++) await backUp(30);
  calls.length = 0;
  await backUp(30);
  expect(calls.filter((call) => /^vault\.read.*\/points\//.test(call))).toHaveLength(2);
  expect(calls.filter((call) => call.startsWith('vault.put'))).toEqual([
    expect.stringContaining('/points/'),
    expect.stringContaining('/chain/'),
  ]);
  expect(calls.filter((call) => call.startsWith('vault.delete'))).toEqual([]);
  expect(calls.filter((call) => call === 'snapshots.changed')).toHaveLength(1);
  expect(live(world)).toHaveLength(9);
  for (const [point, image] of images) {
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  }
});

it('a point whose row is lost, or tells of an older manifest, is read all the same', async () => {
  const { calls, wrapHandlers } = counting();
  const { world, disk, images, backUp } = await stage({ wrapHandlers, onTheSpotBytes: 1024 * B });
  const partition = async (): Promise<string> => {
    const [any] = await world.points('vm');
    return `${world.vaults.containerNames()[0]!}|${any!.itemId}`;
  };
  for (let version = 1; version <= 4; version++) {
    await world.disks.write(disk, (version - 1) * B, block(version));
    await backUp(30);
  }
  const [first = '', second = ''] = [...images.keys()].map(String);
  const { points } = world.ports.catalog;
  await points.remove(await partition(), first);
  const old = (await points.get(await partition(), second))!;
  await points.replace(
    await partition(),
    second,
    { ...old.row, manifest: 'v1/an-older-one.json', dataBlocks: 0, clearedBlocks: 0 },
    old.etag,
  );
  calls.length = 0;
  await world.disks.clear(disk, { start: B, end: 2 * B }); // what the second point wrote
  const point = await backUp(30);
  expect(calls.filter((call) => /^vault\.read.*\/points\//.test(call)).length).toBeGreaterThanOrEqual(4);
  for (const { url, snapshot } of (await world.points('vm')).find((own) => own.point === point)!.set.disks)
    await world.ports.snapshots.remove({ url, id: snapshot });
  world.clock.advance(DAY_MS);
  const { disks } = await world.restore('vm', point);
  expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
});
