import { describe, expect, it } from 'vitest';
import { type AttemptId, type DiskId, type PointId, itemId } from '../../shared/domain/ids.ts';
import type { Manifest, ManifestDisk, ManifestRegion } from '../../shared/format/documents.ts';
import { Chain } from '../../shared/services/chain.ts';
import { ManifestWriter, rewriteManifest } from '../../shared/services/manifest-writer.ts';
import type { Span } from '../../shared/services/spans.ts';
import { memoryVault } from '../support/memory-vault.ts';
import { entry, manifestOf, whole } from './manifests.ts';

/* Manifests as they are written: whole where regions are few, in parts where they are many. */

const D0 = 'd0' as DiskId;
const D1 = 'd1' as DiskId;
const ITEM = itemId('vm');
const POINT = '17672688000000000' as PointId;
const OLD = { point: POINT, attempt: '1111111111111111' as AttemptId };
const NEW = '2222222222222222' as AttemptId;
const FOLDER = `v1/items/${ITEM}/points`;

async function openVault() {
  const vault = memoryVault();
  const container = await vault.open('vault');
  const stored: string[] = [];
  const watched = {
    ...container,
    put: (...write: Parameters<typeof container.put>) => {
      stored.push(write[0]);
      return container.put(...write);
    },
  };
  return { blobs: vault.blobs('vault'), chain: new Chain(watched, ITEM), stored };
}

const head = (...disks: DiskId[]) => manifestOf(ITEM, OLD, Object.fromEntries(disks.map((disk) => [disk, []])));
const entries = (...regions: number[]): ManifestRegion[] => regions.map((region) => entry(region, OLD));
const numbers = ({ disks }: Manifest): number[][] => disks.map(({ regions }) => regions.map(({ region }) => region));

describe('a manifest', () => {
  it('of no more regions than the layout allows is one document of format 2', async () => {
    const { chain, stored } = await openVault();
    const writer = new ManifestWriter(chain, head(D0, D1), { inlineRegions: 3 });
    await writer.add(D0, entries(0, 1));
    await writer.add(D1, []);
    await writer.add(D1, entries(7));
    const named = await writer.finish(head(D0, D1));
    expect(stored).toEqual([`${FOLDER}/${POINT}.${OLD.attempt}.json`]);
    const read = await chain.manifest(named);
    expect(read.format).toBe(2);
    expect(numbers(read)).toEqual([[0, 1], [7]]);
    for (const disk of read.disks) expect(disk).not.toHaveProperty('parts');
  });

  it('of more has a part for each span, all stored before it, and no regions of its own', async () => {
    const { chain, stored, blobs } = await openVault();
    const writer = new ManifestWriter(chain, head(D0, D1), { inlineRegions: 3 });
    await writer.add(D0, entries(0, 1));
    await writer.add(D0, entries(5));
    expect(stored).toEqual([]);
    await writer.add(D1, entries(8, 9));
    await writer.add(D1, entries(16));
    const named = await writer.finish(head(D0, D1));
    expect(stored).toEqual([
      ...['d0.000000', 'd0.000005', 'd1.000008', 'd1.000016'].map(
        (end) => `${FOLDER}/${POINT}.${OLD.attempt}.${end}.json`,
      ),
      `${FOLDER}/${POINT}.${OLD.attempt}.json`,
    ]);
    const read = await chain.manifest(named);
    expect(read.format).toBe(3);
    expect(numbers(read)).toEqual([[], []]);
    expect(numbers(await whole(chain, read))).toEqual([
      [0, 1, 5],
      [8, 9, 16],
    ]);
    const [part] = read.disks[1]!.parts!;
    expect(part).toEqual({
      name: stored[2],
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      bytes: blobs.get(stored[2]!)!.body.length,
      first: 8,
      last: 9,
      regions: 2,
      layers: 2,
      dataBlocks: 19,
      clearedBlocks: 17,
      storedBytes: 219,
      liveBytes: 217,
    });
  });

  it('in which nothing changed is one document, whatever the layout', async () => {
    const { chain, stored } = await openVault();
    const writer = new ManifestWriter(chain, head(D0), { inlineRegions: 0 });
    await writer.add(D0, []);
    expect(numbers(await chain.manifest(await writer.finish(head(D0))))).toEqual([[]]);
    expect(stored).toHaveLength(1);
  });

  it('that a twin writes too, or had begun to, comes to the same names and digests', async () => {
    const { chain, blobs } = await openVault();
    const write = async (spans: number) => {
      const writer = new ManifestWriter(chain, head(D0), { inlineRegions: 0 });
      for (let span = 0; span < spans; span++) await writer.add(D0, entries(2 * span, 2 * span + 1));
      return writer;
    };
    await write(2); // died before the third part
    const first = await (await write(3)).finish(head(D0));
    const second = await (await write(3)).finish(head(D0));
    expect(second).toEqual(first);
    expect(blobs.size).toBe(4);
    expect(numbers(await whole(chain, await chain.manifest(first)))).toEqual([[0, 1, 2, 3, 4, 5]]);
  });
});

describe('a manifest that is written anew', () => {
  const LAYOUT = { spanRegions: 4, inlineRegions: 0 };

  async function old(chain: Chain, layout: { inlineRegions: number }, ...spans: number[][]) {
    const writer = new ManifestWriter(chain, head(D0), layout);
    for (const span of spans) await writer.add(D0, entries(...span));
    return chain.manifest(await writer.finish(head(D0)));
  }

  it('keeps by name the parts that do not change', async () => {
    const { chain } = await openVault();
    const before = await old(chain, LAYOUT, [0, 1], [4], [8, 9]);
    const asked: Span[] = [];
    const change = async (_: ManifestDisk, span: Span) => {
      asked.push(span);
      return span.from === 4 ? entries(4, 6) : undefined;
    };
    const after = await chain.manifest(await rewriteManifest(chain, before, [], NEW, LAYOUT, change));
    expect(asked.map(({ from }) => from)).toEqual([0, 4, 8]);
    expect(after.attempt).toBe(NEW);
    const [kept, fresh, alsoKept] = after.disks[0]!.parts!;
    expect([kept, alsoKept]).toEqual([before.disks[0]!.parts![0], before.disks[0]!.parts![2]]);
    expect(fresh!.name).toBe(`${FOLDER}/${POINT}.${NEW}.d0.000004.json`);
    expect(numbers(await whole(chain, after))).toEqual([[0, 1, 4, 6, 8, 9]]);
  });

  it('gets the spans that only others have, and loses those of which nothing is left', async () => {
    const { chain } = await openVault();
    const before = await old(chain, LAYOUT, [0, 1], [8, 9]);
    const other = manifestOf(ITEM, { ...OLD, point: '17672600000000000' as PointId }, { [D0]: entries(5, 13) });
    const change = async (_: ManifestDisk, { from }: Span) =>
      from === 0 ? [] : from === 4 ? entries(5) : from === 12 ? entries(13) : undefined;
    const after = await chain.manifest(await rewriteManifest(chain, before, [other], NEW, LAYOUT, change));
    expect(after.disks[0]!.parts!.map(({ first }) => first)).toEqual([5, 8, 13]);
    expect(numbers(await whole(chain, after))).toEqual([[5, 8, 9, 13]]);
  });

  it('has a span that changes before one that is kept in a part of its own, however few there are', async () => {
    const { chain } = await openVault();
    const before = await old(chain, LAYOUT, [0, 1], [4], [8, 9]);
    const change = async (_: ManifestDisk, { from }: Span) => (from === 4 ? undefined : entries(from));
    const layout = { spanRegions: 4, inlineRegions: 256 };
    const after = await chain.manifest(await rewriteManifest(chain, before, [], NEW, layout, change));
    expect(numbers(after)).toEqual([[]]);
    expect(after.disks[0]!.parts!.map(({ first }) => first)).toEqual([0, 4, 8]);
    expect(numbers(await whole(chain, after))).toEqual([[0, 4, 8]]);
  });

  it('and had no parts keeps what does not change, in parts once it is too much', async () => {
    const { chain } = await openVault();
    const before = await old(chain, { inlineRegions: 9 }, [0, 1], [8, 9]);
    expect(before.format).toBe(2);
    const change = async (_: ManifestDisk, { from }: Span) => (from === 0 ? entries(0, 1, 2, 3) : undefined);
    for (const [inlineRegions, format] of [
      [6, 2],
      [5, 3],
    ] as const) {
      const attempt = `${NEW.slice(1)}${format}` as AttemptId;
      const layout = { spanRegions: 4, inlineRegions };
      const after = await chain.manifest(await rewriteManifest(chain, before, [], attempt, layout, change));
      expect(after.format).toBe(format);
      expect(numbers(await whole(chain, after))).toEqual([[0, 1, 2, 3, 8, 9]]);
    }
  });
});
