import { describe, expect, it } from 'vitest';
import { type AttemptId, type DiskId, type PointId, itemId } from '../../shared/domain/ids.ts';
import type { Manifest, ManifestRegion } from '../../shared/format/documents.ts';
import { Chain } from '../../shared/services/chain.ts';
import {
  disksOf,
  eachSpan,
  regionsOf,
  spansOf,
  sumOfLayers,
  sumOfManifest,
  within,
} from '../../shared/services/spans.ts';
import { memoryVault } from '../support/memory-vault.ts';
import { entry, manifestOf, whole } from './manifests.ts';

/* What manifests with and without parts say of a span. */

const D0 = 'd0' as DiskId;
const D1 = 'd1' as DiskId;
const ITEM = itemId('vm');
const ONE = { point: '17672688000000000' as PointId, attempt: '1111111111111111' as AttemptId };
const TWO = { point: '17673552000000000' as PointId, attempt: '2222222222222222' as AttemptId };

const openChain = async (): Promise<Chain> => new Chain(await memoryVault().open('vault'), ITEM);

/** A manifest of disk d0 whose regions lie in parts, each given by its regions. */
async function parted(chain: Chain, own: typeof ONE, parts: readonly (readonly number[])[]): Promise<Manifest> {
  const refs = [];
  for (const regions of parts)
    refs.push(
      await chain.putPart(
        own.attempt,
        { point: own.point, disk: D0 },
        regions.map((region) => entry(region, own)),
      ),
    );
  const plain = manifestOf(ITEM, own, { [D0]: [] });
  return { ...plain, format: 3, disks: [{ ...plain.disks[0]!, parts: refs }] };
}

const numbers = (regions: readonly ManifestRegion[]): number[] => regions.map(({ region }) => region);

describe('the spans of a disk', () => {
  const inline = manifestOf(ITEM, ONE, { [D0]: [0, 5, 9, 40].map((region) => entry(region, ONE)) });

  it('are those in which something lies, ascending', () => {
    expect(spansOf(D0, [inline], { spanRegions: 4 })).toEqual([
      { from: 0, to: 4 },
      { from: 4, to: 8 },
      { from: 8, to: 12 },
      { from: 40, to: 44 },
    ]);
    expect(spansOf(D1, [inline], { spanRegions: 4 })).toEqual([]);
  });

  it('take in regions that are asked for besides, in any order', () => {
    expect(spansOf(D0, [inline], { spanRegions: 16 }, [100, 17, 3])).toEqual([
      { from: 0, to: 16 },
      { from: 16, to: 32 },
      { from: 32, to: 48 },
      { from: 96, to: 112 },
    ]);
  });

  it('never cut a part: where one reaches over a border, the spans on both sides are one', async () => {
    const chain = await openChain();
    const old = await parted(chain, ONE, [[0, 1], [2, 5], [6], [8, 9]]);
    expect(spansOf(D0, [old], { spanRegions: 4 })).toEqual([
      { from: 0, to: 8 },
      { from: 8, to: 12 },
    ]);
    expect(spansOf(D0, [await parted(chain, TWO, [[1, 30]])], { spanRegions: 4 }, [13, 40])).toEqual([
      { from: 0, to: 32 },
      { from: 40, to: 44 },
    ]);
  });
});

describe('what manifests say', () => {
  it('of a span is the same with parts and without', async () => {
    const chain = await openChain();
    const regions = [0, 1, 4, 6, 9];
    const inline = manifestOf(ITEM, ONE, { [D0]: regions.map((region) => entry(region, ONE)) });
    const inParts = await parted(chain, ONE, [[0, 1], [4, 6], [9]]);
    for (const span of [
      { from: 0, to: 4 },
      { from: 4, to: 8 },
      { from: 1, to: 9 },
      { from: 2, to: 4 },
      { from: 9, to: 10 },
    ]) {
      const wanted = regions.filter((region) => region >= span.from && region < span.to);
      for (const own of [inline, inParts]) {
        const [reduced] = await within(chain, [own], D0, span);
        expect(numbers(reduced!.disks[0]!.regions)).toEqual(wanted);
        expect(reduced!.disks[0]).not.toHaveProperty('parts');
        expect(numbers(await regionsOf(chain, own.disks[0]!, span))).toEqual(wanted);
      }
    }
    expect((await whole(chain, inParts)).disks).toEqual(inline.disks);
    expect(await whole(chain, inline)).toEqual(inline);
  });

  it('of one disk leaves the others out, and stays in its order', async () => {
    const chain = await openChain();
    const both = manifestOf(ITEM, ONE, { [D0]: [entry(0, ONE)], [D1]: [entry(0, ONE), entry(7, ONE)] });
    const none = manifestOf(ITEM, TWO, {});
    const reduced = await within(chain, [both, none], D1, { from: 4, to: 8 });
    expect(
      reduced.map(({ point, disks }) => [point, disks.map(({ disk, regions }) => [disk, numbers(regions)])]),
    ).toEqual([
      [ONE.point, [[D1, [7]]]],
      [TWO.point, []],
    ]);
    expect(disksOf([none, both, both])).toEqual([D0, D1]);
  });

  it('comes span by span of every disk', async () => {
    const chain = await openChain();
    const one = manifestOf(ITEM, ONE, { [D0]: [entry(0, ONE), entry(5, ONE)], [D1]: [entry(9, ONE)] });
    const two = await parted(chain, TWO, [[4, 7]]);
    const seen = [];
    for await (const { disk, span, manifests } of eachSpan(chain, [one, two], { spanRegions: 4 }))
      seen.push([disk, span.from, ...manifests.map(({ disks }) => numbers(disks[0]?.regions ?? []))]);
    expect(seen).toEqual([
      [D0, 0, [0], []],
      [D0, 4, [5], [4, 7]],
      [D1, 8, [9], []],
    ]);
  });

  it('adds up without a look at the parts', async () => {
    const chain = await openChain();
    const regions = [0, 1, 4].map((region) => entry(region, ONE));
    const sum = { layers: 3, dataBlocks: 1 + 2 + 5, clearedBlocks: 0 + 1 + 4, storedBytes: 308, liveBytes: 305 };
    expect(sumOfLayers(regions)).toEqual(sum);
    expect(sumOfManifest(manifestOf(ITEM, ONE, { [D0]: regions }))).toEqual(sum);
    expect(sumOfManifest(await parted(chain, ONE, [[0, 1], [4]]))).toEqual(sum);
    expect(sumOfLayers([])).toEqual({ layers: 0, dataBlocks: 0, clearedBlocks: 0, storedBytes: 0, liveBytes: 0 });
  });
});

describe('a part', () => {
  it('that is gone, or whose digest is another, is refused by its name', async () => {
    const vault = memoryVault();
    const chain = new Chain(await vault.open('vault'), ITEM);
    const { disks } = await parted(chain, ONE, [
      [0, 1],
      [4, 6],
    ]);
    const [first, second] = disks[0]!.parts!;
    const stale = { ...disks[0]!, parts: [{ ...first!, sha256: second!.sha256 }] };
    await expect(regionsOf(chain, stale, { from: 0, to: 4 })).rejects.toMatchObject({ code: 'DocumentCorrupt' });
    vault.blobs('vault').delete(second!.name);
    const gone = { code: 'VaultObjectMissing', target: second!.name };
    await expect(regionsOf(chain, disks[0]!, { from: 6, to: 7 })).rejects.toMatchObject(gone);
    // The span before does not need it.
    expect(numbers(await regionsOf(chain, disks[0]!, { from: 0, to: 4 }))).toEqual([0, 1]);
  });
});
