import { describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import { decodeLayer } from '../../shared/format/layer-file.ts';
import { packTail, readPackTable } from '../../shared/format/pack.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { leftovers, ownedBlocks } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { FRAME, REGION, compact, namesOf, noise, sparse } from './compact-stage.ts';
import { KEY, container, vaultOnly } from './stage.ts';

/* Damage that a compaction meets stays where it is, and can be told from what is sound. */

/** Where each block of the newest point's one layer of region 0 is stored. */
function whereabouts(world: World): Map<number, string> {
  const name = namesOf(world, '.layer').at(-1)!;
  const { packs, frames, extents } = decodeLayer(name, container(world).get(name)!.body);
  const places = new Map<number, string>();
  for (const { start, count, frame, slot } of extents) {
    if (frame === CLEARED) continue;
    const { pack, offset } = frames[frame]!;
    for (let i = 0; i < count; i++) places.set(start + i, `${packs[pack]!.name} ${offset} ${slot + i}`);
  }
  return places;
}

/** A table that reads, and has the blocks of one frame in another order than the layer. */
function liar(name: string, pack: StoredBlob): void {
  const table = readPackTable(name, pack.body);
  const end = table.at(-1)!.offset + table.at(-1)!.storedBytes;
  const lying = table.map((frame, n) => (n === 6 ? { ...frame, blocks: frame.blocks.toReversed() } : frame));
  pack.body = Buffer.concat([pack.body.subarray(0, end), packTail(name, lying)]);
}

describe('a pack that is not what its layer says', () => {
  it.each<[string, (name: string, pack: StoredBlob) => void]>([
    ['has a damaged table', (_, { body }) => (body[body.length - 60]! ^= 1)],
    ['has been cut', (_, pack) => (pack.body = pack.body.subarray(0, 1_000))],
    ['has the table of other blocks', liar],
  ])('stays as it is when it %s, while others move', async (_, damage) => {
    const { world, disk, backUp, allow } = await sparse();
    // One more fold: its oldest pack, and the one above, are sparse, and stand behind one that is all alive.
    const [oldest] = namesOf(world, '.pack');
    await world.disks.write(disk, 0, noise('above', 70));
    await backUp(200);
    world.clock.advance(100 * DAY_MS);
    await world.cleanUp();
    expect(namesOf(world, '.layer')).toHaveLength(1);
    const packs = namesOf(world, '.pack').length;
    expect(packs).toBeGreaterThanOrEqual(3);
    damage(oldest!, container(world).get(oldest!)!);
    const { body } = container(world).get(oldest!)!;
    const before = ownedBlocks(container(world), REGION);
    const frames = whereabouts(world);
    allow();
    const job = await compact(world);
    await world.drain();
    expect(await world.job(job)).toMatchObject({ status: 'Completed', errors: [] });
    expect(namesOf(world, '.pack')).toContain(oldest);
    expect(container(world).get(oldest!)!.body).toEqual(body);
    expect(ownedBlocks(container(world), REGION)).toEqual(before);
    // Each frame has the bytes that it had, wherever it is now; those of the damaged pack have not moved.
    expect([...whereabouts(world).values()].filter((place) => !place.startsWith(oldest!))).not.toEqual(
      [...frames.values()].filter((place) => !place.startsWith(oldest!)),
    );
    expect([...whereabouts(world).values()].filter((place) => place.startsWith(oldest!))).toEqual(
      [...frames.values()].filter((place) => place.startsWith(oldest!)),
    );
    expect(leftovers(container(world))).toEqual([]);
    // It is not tried again and again.
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: false });
  });

  it('is copied as it is where only bytes of a frame are damaged, and the hashes go on telling', async () => {
    const { world, images, allow } = await sparse();
    const [first] = namesOf(world, '.pack');
    // Frame 6 of the first pack: its first byte.
    container(world).get(first!)!.body[16 + 6 * FRAME + 5]! ^= 1;
    allow();
    await compact(world);
    await world.drain();
    expect(namesOf(world, '.pack')).not.toContain(first);
    await vaultOnly(world);
    const { job } = await world.restore('vm', [...images.keys()][0]!);
    expect(job.status).not.toBe('Completed');
    expect(job.errors[0]).toMatchObject({ code: 'PackCorrupt' });
    expect(job.errors[0]!.message).toMatch(/block 96/);
  });
});
