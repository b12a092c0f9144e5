import { beforeEach, describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { hashOf, leftovers, ownedBlocks } from '../support/vault-map.ts';
import { DAY_MS, type World, createWorld } from '../support/world.ts';

/*
 * The worked cases of the service's documentation on how expired recovery points are merged: a disk of four 16 KiB blocks, three
 * backups. D2' is what stands in block 2 after it has been written again.
 */

/** What stands in a block: all its bytes are one letter's, so that versions can be told apart. */
const VERSIONS = ['D1', 'D2', 'D3', 'D4', "D2'", "D3'", "D2''", "D4'"] as const;
type Version = (typeof VERSIONS)[number];
const bytesOf = (version: Version): Buffer => Buffer.alloc(BLOCK_BYTES, VERSIONS.indexOf(version) + 1);
const NAMES = new Map(VERSIONS.map((version) => [hashOf(bytesOf(version)), version]));

let world: World;
let disk: string;

beforeEach(async () => {
  world = await createWorld({ regionBytes: 1024 * BLOCK_BYTES });
  disk = (await world.createVm('vm', [4 * BLOCK_BYTES]))[0]!;
  await world.setPolicy({ dailyRetentionDays: 10 });
  await world.protect('vm');
});

/** Writes each version into the block that its digit names, then backs up; the point is kept for `days`. */
async function backUp(versions: readonly Version[], days: number): Promise<void> {
  for (const version of versions)
    await world.disks.write(disk, (Number(version[1]) - 1) * BLOCK_BYTES, bytesOf(version));
  const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
  expect(job.status).toBe('Completed');
  world.clock.advance(60_000);
}

async function expire(days: number): Promise<void> {
  world.clock.advance(days * DAY_MS);
  await world.cleanUp();
}

/** Which block lives in which point, oldest point first. */
function blocks(): string[] {
  const container = world.vaults.blobs(world.vaults.containerNames()[0]!);
  return ownedBlocks(container, 1024).map((own) => own.map(({ hash }) => NAMES.get(hash)!).join('+'));
}

/** What storage costs, in blocks: each point's own, and all together. */
async function costs(): Promise<{ points: number[]; total: number }> {
  const points = (await world.points('vm')).map(({ dataBlocks }) => dataBlocks);
  return { points, total: points.reduce((sum, own) => sum + own, 0) };
}

/** What each point shows, block by block, when it is restored from the vault. */
async function views(): Promise<string[]> {
  const seen: string[] = [];
  for (const { point, set, instant } of await world.points('vm')) {
    if (instant === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { disks } = await world.restore('vm', point);
    const shown = [0, 1, 2, 3].map(
      (i) => NAMES.get(hashOf(disks[0]!.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES))) ?? '-',
    );
    seen.push(shown.join(' '));
  }
  return seen;
}

function noLeftovers(): void {
  expect(leftovers(world.vaults.blobs(world.vaults.containerNames()[0]!))).toEqual([]);
}

describe('three backups of four blocks', () => {
  it('cost what they changed', async () => {
    await backUp(['D1', 'D2'], 30);
    expect(blocks()).toEqual(['D1+D2']);
    expect(await costs()).toEqual({ points: [2], total: 2 });

    await backUp(['D3'], 30);
    expect(blocks()).toEqual(['D1+D2', 'D3']);
    expect(await costs()).toEqual({ points: [2, 1], total: 3 });

    await backUp(["D2'", "D3'"], 30);
    expect(blocks()).toEqual(['D1+D2', 'D3', "D2'+D3'"]);
    expect(await costs()).toEqual({ points: [2, 1, 2], total: 5 });
    expect(await views()).toEqual(['D1 D2 - -', 'D1 D2 D3 -', "D1 D2' D3' -"]);
  });
});

describe('case 1: point 1 expires', () => {
  it('D1 and D2 move into point 2, which is now the full one: it still shows D2', async () => {
    await backUp(['D1', 'D2'], 2);
    await backUp(['D3'], 30);
    await backUp(["D2'", "D3'"], 30);
    await expire(3);
    expect(blocks()).toEqual(['D1+D2+D3', "D2'+D3'"]);
    expect(await costs()).toEqual({ points: [3, 2], total: 5 });
    expect(await views()).toEqual(['D1 D2 D3 -', "D1 D2' D3' -"]);
    noLeftovers();
  });

  it('then point 2 expires: D2 and D3 die, since point 3 has written both again', async () => {
    await backUp(['D1', 'D2'], 2);
    await backUp(['D3'], 4);
    await backUp(["D2'", "D3'"], 30);
    await expire(3);
    await expire(2);
    expect(blocks()).toEqual(["D1+D2'+D3'"]);
    expect(await costs()).toEqual({ points: [3], total: 3 });
    expect(await views()).toEqual(["D1 D2' D3' -"]);
    noLeftovers();
  });

  it('where point 2 itself has overwritten block 2, D2 dies at once', async () => {
    await backUp(['D1', 'D2'], 2);
    await backUp(["D2''", 'D3'], 30);
    await backUp(["D2'", "D3'"], 30);
    await expire(3);
    expect(blocks()).toEqual(["D1+D2''+D3", "D2'+D3'"]);
    expect(await costs()).toEqual({ points: [3, 2], total: 5 });
    expect(await views()).toEqual(["D1 D2'' D3 -", "D1 D2' D3' -"]);
    noLeftovers();
  });
});

describe('case 2: point 2 expires before point 1', () => {
  it('D3 dies, since nobody shows it any more; point 1 is untouched', async () => {
    await backUp(['D1', 'D2'], 30);
    await backUp(['D3'], 2);
    await backUp(["D2'", "D3'"], 30);
    await expire(3);
    expect(blocks()).toEqual(['D1+D2', "D2'+D3'"]);
    expect(await costs()).toEqual({ points: [2, 2], total: 4 });
    expect(await views()).toEqual(['D1 D2 - -', "D1 D2' D3' -"]);
    noLeftovers();
  });

  it('a block that point 2 changed and point 3 did not moves into point 3', async () => {
    await backUp(['D1', 'D2'], 30);
    await backUp(['D3', 'D4'], 2);
    await backUp(["D2'", "D3'"], 30);
    await expire(3);
    expect(blocks()).toEqual(['D1+D2', "D2'+D3'+D4"]);
    expect(await costs()).toEqual({ points: [2, 3], total: 5 });
    expect(await views()).toEqual(['D1 D2 - -', "D1 D2' D3' D4"]);
    noLeftovers();
  });
});

describe('case 3: an on-demand point between points 3 and 4 expires', () => {
  it('merges into point 4 on its own day, the same way', async () => {
    await backUp(['D1', 'D2'], 30);
    await backUp(['D3'], 30);
    await backUp(["D2'", "D3'"], 30);
    await backUp(['D4', "D2''"], 2);
    await backUp(["D4'"], 30);
    await expire(1);
    expect(blocks()).toEqual(['D1+D2', 'D3', "D2'+D3'", "D2''+D4", "D4'"]);
    await expire(2);
    expect(blocks()).toEqual(['D1+D2', 'D3', "D2'+D3'", "D2''+D4'"]);
    expect(await costs()).toEqual({ points: [2, 1, 2, 2], total: 7 });
    expect(await views()).toEqual(['D1 D2 - -', 'D1 D2 D3 -', "D1 D2' D3' -", "D1 D2'' D3' D4'"]);
    noLeftovers();
  });
});
