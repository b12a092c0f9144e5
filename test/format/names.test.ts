import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { attemptId, diskId, itemId, pointId, runId } from '../../shared/domain/ids.ts';
import {
  VAULT_NAME,
  attemptIn,
  chainPrefix,
  checkpointName,
  itemPrefix,
  layerName,
  layersPrefix,
  manifestName,
  manifestPartName,
  packName,
  parseLayerName,
  planName,
  recordName,
  recordSeq,
  slabName,
} from '../../shared/format/names.ts';
import { codeOf } from './failures.ts';

const key = {
  item: itemId('vm-1'),
  disk: diskId('d0'),
  point: pointId('17672688000000000'),
  region: 42,
  attempt: attemptId('0123456789abcdef'),
};

it('names are those of the format page', () => {
  expect([
    recordName(key.item, 7),
    manifestName(key.item, key.point, key.attempt),
    manifestPartName(key.item, key.point, key.attempt, key.disk, key.region),
    planName(key.item, key.attempt),
    planName(key.item, key.attempt, 2),
    layerName(key),
    packName(key, runId('89abcdef'), 3),
    slabName(key.item, key.disk, key.point, 5, key.attempt),
    checkpointName(key.item, key.disk, key.region, key.attempt),
  ]).toEqual([
    'v1/items/vm-1/chain/000000000007.json',
    'v1/items/vm-1/points/17672688000000000.0123456789abcdef.json',
    'v1/items/vm-1/points/17672688000000000.0123456789abcdef.d0.000042.json',
    'v1/items/vm-1/plans/0123456789abcdef.json',
    'v1/items/vm-1/plans/0123456789abcdef.000002.json',
    'v1/items/vm-1/disks/d0/17672688000000000/000042.0123456789abcdef.layer',
    'v1/items/vm-1/disks/d0/17672688000000000/000042.0123456789abcdef.89abcdef.3.pack',
    'v1/items/vm-1/disks/d0/17672688000000000/000005.0123456789abcdef.slab',
    'v1/items/vm-1/disks/d0/000042.0123456789abcdef.checkpoint',
  ]);
});

const keys = fc.record({
  item: fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,20}$/).map(itemId),
  disk: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/).map(diskId),
  point: fc.stringMatching(/^\d{17}$/).map(pointId),
  region: fc.nat(3_000_000),
  attempt: fc.stringMatching(/^[0-9a-f]{16}$/).map(attemptId),
});

it("a layer's name reads back, and lies in its folders", () => {
  fc.assert(
    fc.property(keys, (any) => {
      const name = layerName(any);
      expect(parseLayerName(name)).toEqual(any);
      expect(
        name.startsWith(layersPrefix(any.item, any.disk, any.point)) && name.startsWith(itemPrefix(any.item)),
      ).toBe(true);
    }),
  );
});

it('all that a plan makes tells its attempt, and nothing else does', () => {
  fc.assert(
    fc.property(keys, fc.nat(3_000_000), (any, number) => {
      const { item, disk, point, region, attempt } = any;
      const made = [
        planName(item, attempt),
        planName(item, attempt, 1 + number),
        manifestName(item, point, attempt),
        manifestPartName(item, point, attempt, disk, region),
        layerName(any),
        packName(any, runId('89abcdef'), number),
        slabName(item, disk, point, number, attempt),
        checkpointName(item, disk, region, attempt),
      ];
      for (const name of made) expect(attemptIn(name)).toBe(attempt);
      expect(new Set(made).size).toBe(made.length);
      expect([recordName(item, number), VAULT_NAME].map(attemptIn)).toEqual([undefined, undefined]);
    }),
  );
});

it('a disk that is called like an attempt does not pass for the attempt of a part', () => {
  const disk = diskId('fedcba9876543210');
  expect(attemptIn(manifestPartName(key.item, key.point, key.attempt, disk, key.region))).toBe(key.attempt);
  const item = itemId('vm.0123456789abcdef');
  expect(attemptIn(recordName(item, 7))).toBeUndefined();
});

it('nothing else is taken for a layer', () => {
  const others = [
    packName(key, runId('89abcdef'), 0),
    slabName(key.item, key.disk, key.point, 0, key.attempt),
    checkpointName(key.item, key.disk, key.region, key.attempt),
    manifestName(key.item, key.point, key.attempt),
    manifestPartName(key.item, key.point, key.attempt, key.disk, key.region),
    `${layerName(key)}x`,
    `x${layerName(key)}`,
    layerName(key).toUpperCase(),
    '',
  ];
  expect(others.map((name) => parseLayerName(name))).toEqual(others.map(() => undefined));
});

it("a record's name reads back, and names ascend with the records", () => {
  fc.assert(
    fc.property(fc.nat(999_999_999_999), fc.nat(999_999_999_999), (a, b) => {
      expect(recordSeq(recordName(key.item, a))).toBe(a);
      expect(recordName(key.item, a) < recordName(key.item, b)).toBe(a < b);
    }),
  );
  for (const name of [`${chainPrefix(key.item)}7.json`, `${chainPrefix(key.item)}000000000007.tmp`, 'x']) {
    expect(codeOf(() => recordSeq(name))).toBe('DocumentCorrupt');
  }
});
