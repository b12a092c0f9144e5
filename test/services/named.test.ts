import { expect, it } from 'vitest';
import { type AttemptId, type DiskId, type PointId, itemId } from '../../shared/domain/ids.ts';
import type { ManifestRegion } from '../../shared/format/documents.ts';
import { layerName, slabName } from '../../shared/format/names.ts';
import { Chain } from '../../shared/services/chain.ts';
import { namedAmong } from '../../shared/services/named.ts';
import { memoryVault } from '../support/memory-vault.ts';
import { entry, manifestOf } from './manifests.ts';

const DISK = 'd0' as DiskId;
const ITEM = itemId('vm');
const OWN = { point: '17672688000000000' as PointId, attempt: '1111111111111111' as AttemptId };

/** A layer in the slab of that number. */
const inSlab = (region: number, number: number): ManifestRegion => ({
  region,
  layers: entry(region, OWN).layers.map((layer) => ({ ...layer, slab: { number, offset: 8, bytes: 100 } })),
});

it('a slab is named wherever its number lies, and asked for in other spans only if its own do not name it', async () => {
  const container = await memoryVault().open('vault');
  let parts = 0;
  const chain = new Chain(
    {
      ...container,
      readWhole: (name) => {
        if (/\.d0\.\d+\.json$/.test(name)) parts++;
        return container.readWhole(name);
      },
    },
    ITEM,
  );
  const vm = { id: '/vm', name: 'vm', resourceGroup: 'app' };
  const by = { attempt: OWN.attempt, job: null, writtenAt: '2026-01-01T12:00:00.000Z' };
  await chain.start({ kind: 'start', vm, ...by });
  const refs = [];
  for (const regions of [[inSlab(0, 0), inSlab(1, 9)], [entry(9, OWN)], [inSlab(20, 20)]])
    refs.push(await chain.putPart(OWN.attempt, { point: OWN.point, disk: DISK }, regions));
  const plain = manifestOf(ITEM, OWN, { [DISK]: [] });
  const point = await chain.putManifest({ ...plain, format: 3, disks: [{ ...plain.disks[0]!, parts: refs }] });
  const { record } = await chain.append(await chain.newest(), { kind: 'backup', points: [point], ...by });

  const slab = (number: number): string => slabName(ITEM, DISK, OWN.point, number, OWN.attempt);
  const ask = async (...names: string[]): Promise<string[]> => {
    parts = 0;
    return [...(await namedAmong(container, chain, record, { spanRegions: 4 }, names, []))].sort();
  };
  expect(await ask(slab(0), slab(9), slab(20))).toEqual([slab(0), slab(9), slab(20)]);
  expect(await ask(slab(9))).toEqual([slab(9)]);
  expect(await ask(slab(20))).toEqual([slab(20)]);
  expect(parts).toBe(1);
  expect(await ask(slab(1), slab(400))).toEqual([]);
  expect(parts).toBe(3);
  const layer = layerName({ item: ITEM, disk: DISK, region: 9, ...OWN });
  expect(await ask(layer, layer.replace('000009', '000008'))).toEqual([layer]);
  expect(parts).toBe(1);
  expect(await ask(refs[1]!.name, point.manifest, 'v1/items/vm/strange')).toEqual(
    [refs[1]!.name, point.manifest].sort(),
  );
  expect(parts).toBe(0);
});
