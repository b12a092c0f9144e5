import { describe, expect, it } from 'vitest';
import type { DiskId, ItemId } from '../../shared/domain/ids.ts';
import { PRODUCTION_GEOMETRY } from '../../shared/domain/units.ts';
import { objectMark } from '../../shared/services/sweep-marks.ts';
import { type Batch, SweepWalk } from '../../shared/services/sweep-walk.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { memoryVault } from '../support/memory-vault.ts';

/* A walk shows every name in an item's folder once, however few names can be held. */

const ITEM = 'vm-1' as ItemId;
const ATTEMPT = '00000000deadbeef';
const POINTS = ['20260101000000000', '20260102000000000'];
/** On both sides of places' ends: of a ten, a hundred, a thousand, ten thousand. */
const REGIONS = [0, 1, 9, 10, 99, 100, 999, 1000, 1023, 1024, 9999, 10_000, 32_767, 65_535];

const six = (region: number): string => `${region}`.padStart(6, '0');

function namesOf(disk: string): string[] {
  const folder = `v1/items/${ITEM}/disks/${disk}`;
  return REGIONS.flatMap((region) => [
    `${folder}/${six(region)}.${ATTEMPT}.checkpoint`,
    ...POINTS.flatMap((point) => [
      `${folder}/${point}/${six(region)}.${ATTEMPT}.layer`,
      ...[0, 1, 10].map((n) => `${folder}/${point}/${six(region)}.${ATTEMPT}.00000001.${n}.pack`),
      `${folder}/${point}/${six(region)}.${ATTEMPT}.slab`,
    ]),
  ]);
}

const DOCUMENTS = [
  ...POINTS.flatMap((point) => [
    `v1/items/${ITEM}/points/${point}.${ATTEMPT}.json`,
    ...[0, 1024].map((region) => `v1/items/${ITEM}/points/${point}.${ATTEMPT}.a-b.${six(region)}.json`),
  ]),
  ...['00000000deadbeef', '0123456789abcdef', 'fedcba9876543210'].flatMap((attempt) =>
    ['', '.000001'].map((part) => `v1/items/${ITEM}/plans/${attempt}${part}.json`),
  ),
];

async function folder(names: readonly string[]): Promise<VaultContainer> {
  const container = await memoryVault().open('vault-1');
  const others = [`v1/items/${ITEM}/chain/000000000001.json`, 'v1/items/vm-10/plans/0.json', 'v1/vault.json'];
  for (const name of [...names, ...others]) await container.put(name, Buffer.alloc(1));
  return container;
}

async function walkAll(container: VaultContainer, namesAtOnce: number): Promise<Batch[]> {
  const batches: Batch[] = [];
  for (let after: string | undefined; ;) {
    // Each batch is of a message of its own, which knows nothing but where the one before has come to.
    const batch = await new SweepWalk(container, ITEM, namesAtOnce, PRODUCTION_GEOMETRY).batch(after);
    batches.push(batch);
    after = batch.places.at(-1);
    if (batch.isLast) return batches;
  }
}

const ALL = [...['a', 'a-b', '9'].flatMap(namesOf), ...DOCUMENTS];
/** All of one region. */
const FEWEST = 1 + 2 * 5;

describe.each([1, 2, FEWEST, 20, 50, 200, 400, ALL.length])('with %i names at once', (namesAtOnce) => {
  it('every name is seen once, and no more at a time than can be held or one region has', async () => {
    const batches = await walkAll(await folder(ALL), namesAtOnce);
    expect(batches.flatMap(({ names }) => names).sort()).toEqual([...ALL].sort());
    for (const { names } of batches) expect(names.length).toBeLessThanOrEqual(Math.max(namesAtOnce, FEWEST));
    const places = batches.flatMap((batch) => batch.places);
    expect(places).toEqual([...places].sort());
  });

  it('the mark of a name sorts into the place that the name was found in', async () => {
    for (const { places, names } of await walkAll(await folder(ALL), namesAtOnce)) {
      const prefixes = places.map((place) => `o|${place.replaceAll('/', '|')}`);
      for (const name of names)
        expect(prefixes.filter((prefix) => objectMark(ITEM, name).startsWith(prefix))).toHaveLength(1);
    }
  });
});

it('a folder with few names is one listing', async () => {
  const container = await folder(ALL);
  const asked: string[] = [];
  const counting: VaultContainer = {
    ...container,
    list: (prefix) => (asked.push(prefix), container.list(prefix)),
    folders: (prefix) => (asked.push(prefix), container.folders(prefix)),
  };
  expect(await walkAll(counting, 10_000)).toHaveLength(1);
  expect(asked).toEqual([`v1/items/${ITEM}/`]);
});

it('marks of strange names, of snapshots and of objects are told apart', () => {
  const at = (name: string): string => objectMark(ITEM, `v1/items/${ITEM}/${name}`).replace(/[0-9a-f]{40}$/, '#');
  expect(at(`disks/a/${POINTS[0]}/001024.${ATTEMPT}.layer`)).toBe('o|disks|a|001024|#');
  expect(at(`disks/a/001024.${ATTEMPT}.checkpoint`)).toBe('o|disks|a|001024|#');
  expect(at('disks/a/strange')).toBe('o|disks|a||#');
  expect(at(`disks/a/strange/0010.json`)).toBe('o|disks|a|0010|#');
  expect(at('strange')).toBe('o||#');
  expect(at(`plans/${ATTEMPT}.000001.json`)).toBe(`o|plans|${ATTEMPT}|#`);
  expect(at(`points/${POINTS[0]}.${ATTEMPT}.json`)).toBe(`o|points|${POINTS[0]}|#`);
});

it('disks are those that have a folder', async () => {
  const walk = new SweepWalk(await folder(ALL), ITEM, 1, PRODUCTION_GEOMETRY);
  expect(await walk.disks()).toEqual(['9', 'a-b', 'a'] as DiskId[]);
});
