import { describe, expect, it } from 'vitest';
import type { DiskSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { VAULT, type World } from '../support/world.ts';
import { B, KEY, block, container, stage } from './stage.ts';

/* Damage in a vault must not keep the leftovers of everything else for ever. */

/** Two sweeps a grace apart, as a queue would have them: given up after their tries. */
async function sweepTwice(world: World): Promise<void> {
  for (let round = 0; round < 2; round++) {
    await runStep(world.ports, { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY }).catch((error: unknown) => {
      if (!isBackupError(error)) throw error;
    });
    world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
  }
}

/** An item with a layer in each of three regions, and what a dead run has left: a pack of the first region, one of the second, a snapshot. */
async function littered(): Promise<{
  world: World;
  layers: string[];
  strays: [string, string];
  snapshot: DiskSnapshot;
}> {
  const { world, disk, backUp } = await stage({ layout: { thinBytes: -1 }, regionBytes: 2 * B });
  await world.disks.write(disk, 0, block(1, 6));
  const point = await backUp(30);
  const blobs = container(world);
  const layers = [...blobs.keys()].filter((name) => name.endsWith('.layer')).sort();
  const strayOf = (layer: string): string =>
    layer.replace(/\.[0-9a-f]{16}\.layer$/, '.00000000deadbeef.00000000.0.pack');
  const strays: [string, string] = [strayOf(layers[0]!), strayOf(layers[1]!)];
  for (const stray of strays) blobs.set(stray, { body: Buffer.alloc(100), summary: {} });
  const { itemId } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
  const tags = {
    vault: world.vaults.containerNames()[0]!,
    item: itemId,
    job: 'dead',
    attempt: '00000000deadbeef',
    point,
  };
  world.clock.advance(1000);
  return { world, layers, strays, snapshot: { url: disk, id: (await world.ports.snapshots.take(disk, tags)).id } };
}

describe('where a layer cannot be read', () => {
  it.each(['damaged', 'gone'])('%s, the packs of its region stay, and all other leftovers go', async (how) => {
    const { world, layers, strays, snapshot } = await littered();
    const blobs = container(world);
    if (how === 'gone') blobs.delete(layers[0]!);
    else blobs.get(layers[0]!)!.body[100]! ^= 1;
    const before = [...blobs.keys()];
    await sweepTwice(world);
    expect([...blobs.keys()].sort()).toEqual(before.filter((name) => name !== strays[1]).sort());
    expect(await world.ports.snapshots.sizeOf(snapshot)).toBeUndefined();
  });
});

it('where a manifest cannot be read nothing of the folder goes, and leftover snapshots do', async () => {
  const { world, snapshot } = await littered();
  const blobs = container(world);
  const manifest = [...blobs.keys()].find((name) => name.includes('/points/'))!;
  blobs.get(manifest)!.body[150]! ^= 1;
  const before = [...blobs.keys()];
  await sweepTwice(world);
  expect([...blobs.keys()]).toEqual(before);
  expect(await world.ports.snapshots.sizeOf(snapshot)).toBeUndefined();
});
