import {
  BlobSASPermissions,
  type ContainerClient,
  type PageBlobClient,
  RestError,
  type StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangedRange } from '../../local/storage/page-range-diff.ts';
import { pageBlobSnapshots } from '../../shared/disk/page-blob-snapshots.ts';
import {
  type TestStorage,
  listAllocated,
  listChanges,
  multiplyRange,
  seededNumbers,
  startTestStorage,
} from '../support/local-storage.ts';

const PAGE = 512;

let storage: TestStorage;
let container: ContainerClient;

beforeAll(async () => {
  storage = await startTestStorage('completed');
  container = await storage.container('disks');
});
afterAll(() => storage.remove());

async function disk(name: string, pages: number): Promise<PageBlobClient> {
  const blob = container.getPageBlobClient(name);
  await blob.create(pages * PAGE);
  return blob;
}

async function snapshot(blob: PageBlobClient): Promise<string> {
  return (await blob.createSnapshot()).snapshot as string;
}

async function write(blob: PageBlobClient, page: number, count: number, fill = 7): Promise<void> {
  await blob.uploadPages(Buffer.alloc(count * PAGE, fill), page * PAGE, count * PAGE);
}

async function clear(blob: PageBlobClient, page: number, count: number): Promise<void> {
  await blob.clearPages(page * PAGE, count * PAGE);
}

/** Changes since `previous` as `page first+count` and `clear first+count`, in pages. */
async function changes(blob: PageBlobClient, previous: string, pages = 4096, maxPageSize?: number): Promise<string[]> {
  const found = await listChanges(blob, previous, { offset: 0, count: pages * PAGE }, maxPageSize);
  return found.map(({ kind, start, end }) => `${kind} ${start / PAGE}+${(end + 1 - start) / PAGE}`);
}

async function codeOf(request: Promise<unknown>): Promise<string> {
  const error = await request.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof RestError ? `${error.statusCode} ${error.code}` : `no RestError: ${String(error)}`;
}

describe('page range diff', () => {
  it('reports written pages as pages, cleared ones as cleared, untouched ones not at all', async () => {
    const blob = await disk('kinds', 64);
    await write(blob, 0, 32);
    const before = await snapshot(blob);
    await write(blob, 4, 1);
    await clear(blob, 8, 3);
    await write(blob, 40, 2);
    expect(await changes(blob, before)).toEqual(['page 4+1', 'clear 8+3', 'page 40+2']);
    expect(await changes(blob.withSnapshot(before), before)).toEqual([]);
  });

  it('reports a page rewritten with equal bytes, and one cleared and written again', async () => {
    const blob = await disk('rewritten', 16);
    await write(blob, 0, 8, 1);
    const before = await snapshot(blob);
    await write(blob, 2, 2, 1);
    await clear(blob, 6, 1);
    await write(blob, 6, 1, 1);
    expect(await changes(blob, before)).toEqual(['page 2+2', 'page 6+1']);
  });

  it('is silent about pages that were written and cleared again in between', async () => {
    const blob = await disk('fleeting', 16);
    const before = await snapshot(blob);
    await write(blob, 2, 2);
    await clear(blob, 2, 2);
    await clear(blob, 9, 1);
    expect(await changes(blob, before)).toEqual([]);
  });

  it('cuts partial overlaps at pages', async () => {
    const blob = await disk('overlaps', 64);
    await write(blob, 0, 7);
    await write(blob, 7, 13);
    await write(blob, 33, 5);
    const before = await snapshot(blob);
    await write(blob, 5, 3);
    await clear(blob, 19, 15);
    await write(blob, 21, 1);
    await write(blob, 37, 4);
    expect(await changes(blob, before)).toEqual(['page 5+3', 'clear 19+1', 'page 21+1', 'clear 33+1', 'page 37+4']);
    const window = { offset: 6 * PAGE, count: 14 * PAGE };
    expect(await listChanges(blob, before, window)).toEqual([
      { kind: 'page', start: 6 * PAGE, end: 8 * PAGE - 1 },
      { kind: 'clear', start: 19 * PAGE, end: 20 * PAGE - 1 },
    ] satisfies ChangedRange[]);
  });

  it('follows a blob that grows, shrinks, and grows again', async () => {
    const blob = await disk('resized', 16);
    await write(blob, 0, 16);
    const full = await snapshot(blob);
    await blob.resize(32 * PAGE);
    expect(await changes(blob, full)).toEqual([]);
    await write(blob, 30, 2);
    expect(await changes(blob, full)).toEqual(['page 30+2']);
    const grown = await snapshot(blob);
    await blob.resize(8 * PAGE);
    expect(await changes(blob, full)).toEqual([]);
    const shrunk = await snapshot(blob);
    await blob.resize(32 * PAGE);
    expect(await changes(blob, full)).toEqual(['clear 8+8']);
    expect(await changes(blob, grown)).toEqual(['clear 8+8', 'clear 30+2']);
    expect(await changes(blob, shrunk)).toEqual([]);
    await write(blob, 10, 1);
    expect(await changes(blob, full)).toEqual(['clear 8+2', 'page 10+1', 'clear 11+5']);
    expect(await changes(blob.withSnapshot(grown), full)).toEqual(['page 30+2']);
  });

  it('answers for an empty blob and for a hole', async () => {
    const blob = container.getPageBlobClient('empty');
    await blob.create(0);
    const before = await snapshot(blob);
    expect(await listAllocated(blob)).toEqual([]);
    await blob.resize(8 * PAGE);
    expect(await changes(blob, before)).toEqual([]);
    expect(await listAllocated(blob)).toEqual([]);
  });

  it.each([11, 12, 13])('agrees with a model over chains of snapshots (seed %i)', async (seed) => {
    const next = seededNumbers(seed);
    const blob = await disk(`fuzz-${seed}`, 96);
    /** Number of the write that each page holds; 0 where it is not allocated. */
    let model = Array.from({ length: 96 }, () => 0);
    let writes = 0;
    const chain: { time: string; model: number[] }[] = [];
    for (let step = 0; step < 110; step++) {
      const page = next(model.length);
      const count = 1 + next(Math.min(12, model.length - page));
      const action = next(20);
      if (action < 9) {
        await write(blob, page, count, next(3));
        model.fill(++writes, page, page + count);
      } else if (action < 15) {
        await clear(blob, page, count);
        model.fill(0, page, page + count);
      } else if (action < 17) {
        const pages = 32 + next(96);
        await blob.resize(pages * PAGE);
        model = Array.from({ length: pages }, (_, at) => model[at] ?? 0);
      } else if (chain.length < 9) {
        chain.push({ time: await snapshot(blob), model: [...model] });
      }
    }
    const states = [...chain, { time: '', model }];
    for (const [earlier, from] of chain.entries()) {
      for (const to of states.slice(earlier)) {
        const client = to.time === '' ? blob : blob.withSnapshot(to.time);
        const label = `seed ${seed}: ${from.time} to ${to.time || 'live'}`;
        expect(pagesOf(await changes(client, from.time)), label).toEqual(modelDiff(from.model, to.model));
        const first = next(to.model.length);
        const count = 1 + next(40);
        const part = await listChanges(client, from.time, { offset: first * PAGE, count: count * PAGE }, 1 + next(4));
        expect(
          pagesOf(part.map(({ kind, start, end }) => `${kind} ${start / PAGE}+${(end + 1 - start) / PAGE}`)),
          label,
        ).toEqual(modelDiff(from.model, to.model, first, count));
      }
    }
  });
});

function modelDiff(before: readonly number[], now: readonly number[], first = 0, count = Infinity): string[] {
  return now.flatMap((written, page) => {
    if (page < first || page >= first + count) return [];
    const earlier = before[page] ?? 0;
    if (written === earlier) return [];
    return [`${written === 0 ? 'clear' : 'page'} ${page}`];
  });
}

function pagesOf(ranges: readonly string[]): string[] {
  return ranges.flatMap((range) => {
    const [, kind, first, count] = /^(\w+) (\d+)\+(\d+)$/.exec(range) ?? [];
    return Array.from({ length: Number(count) }, (_, index) => `${kind} ${Number(first) + index}`);
  });
}

describe('pages of a listing', () => {
  it('gives one range an answer and the rest by marker', async () => {
    const blob = await disk('paged', 64);
    await write(blob, 10, 1);
    const before = await snapshot(blob);
    for (const page of [1, 3, 5, 20]) await write(blob, page, 1);
    await clear(blob, 10, 1);
    const pages: string[][] = [];
    for await (const page of blob.listPageRangesDiff(0, 64 * PAGE, before).byPage({ maxPageSize: 1 })) {
      pages.push([...(page.pageRange ?? []), ...(page.clearRange ?? [])].map(({ start }) => `${start / PAGE}`));
    }
    expect(pages).toEqual([['1'], ['3'], ['5'], ['10'], ['20']]);
    const plain: number[] = [];
    for await (const page of blob.listPageRanges().byPage({ maxPageSize: 3 })) plain.push(page.pageRange?.length ?? 0);
    expect(plain).toEqual([3, 1]);
  });

  it('gives at most 10,000 ranges an answer, of 25,000', async () => {
    const blob = await disk('many', 50_000);
    const before = await snapshot(blob);
    await write(blob, 0, 1);
    await storage.server.stop();
    await multiplyRange(storage.dataDir, ({ name }) => name === 'many', { count: 25_000, everyBytes: 2 * PAGE });
    await storage.restart();
    container = await storage.container('disks');
    const reopened = container.getPageBlobClient('many');

    const sizes: number[] = [];
    for await (const page of reopened.listPageRangesDiff(0, 50_000 * PAGE, before).byPage()) {
      sizes.push(page.pageRange?.length ?? 0);
    }
    expect(sizes).toEqual([10_000, 10_000, 5_000]);
    const found = await changes(reopened, before, 50_000, 20_000);
    expect(found).toEqual(Array.from({ length: 25_000 }, (_, index) => `page ${index * 2}+1`));
    expect(await listAllocated(reopened)).toHaveLength(25_000);

    // As the app asks, in one region.
    const snapshots = pageBlobSnapshots({ credentialFor: () => reopened.credential as StorageSharedKeyCredential });
    const taken = await snapshots.take(reopened.url, {});
    const told = snapshots.changed(taken, { url: reopened.url, id: before }, { start: 0, end: 50_000 * PAGE });
    expect(await Array.fromAsync(told)).toEqual(
      Array.from({ length: 25_000 }, (_, i) => ({ kind: 'data', start: i * 2 * PAGE, end: (i * 2 + 1) * PAGE })),
    );
  });

  it('refuses a marker that it has not returned, and a page size below one', async () => {
    const blob = await disk('bad-pages', 8);
    const before = await snapshot(blob);
    const marked = blob.listPageRangesDiff(0, 8 * PAGE, before).byPage({ continuationToken: 'elsewhere' });
    expect(await codeOf(marked.next())).toBe('400 InvalidQueryParameterValue');
    const answer = await rawPageList(blob, `maxresults=0`);
    expect(answer.status).toBe(400);
  });
});

async function rawPageList(blob: PageBlobClient, query: string, headers: Record<string, string> = {}) {
  const url = await readUrl(blob);
  return await fetch(`${url}&comp=pagelist&${query}`, { headers: { 'x-ms-version': '2024-11-04', ...headers } });
}

function readUrl(blob: PageBlobClient): Promise<string> {
  return blob.generateSasUrl({
    permissions: BlobSASPermissions.parse('r'),
    expiresOn: new Date(Date.now() + 3_600_000),
  });
}

describe('what cannot be compared', () => {
  it('a snapshot that never was, or is gone', async () => {
    const blob = await disk('missing', 8);
    const before = await snapshot(blob);
    expect(await codeOf(changes(blob, '2001-01-01T00:00:00.0000000Z'))).toBe('409 PreviousSnapshotNotFound');
    await blob.withSnapshot(before).delete();
    expect(await codeOf(changes(blob, before))).toBe('409 PreviousSnapshotNotFound');
    expect(await codeOf(changes(blob, 'yesterday'))).toBe('400 InvalidQueryParameterValue');
  });

  it('a snapshot newer than the one asked about', async () => {
    const blob = await disk('newer', 8);
    const older = await snapshot(blob);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const newer = await snapshot(blob);
    expect(await codeOf(changes(blob.withSnapshot(older), newer))).toBe('400 PreviousSnapshotCannotBeNewer');
  });

  it('a blob that was made anew, or restored in place, since the snapshot', async () => {
    const blob = await disk('anew', 8);
    await write(blob, 0, 4);
    const before = await snapshot(blob);
    await blob.create(8 * PAGE);
    expect(await codeOf(changes(blob, before))).toBe('409 BlobOverwritten');
    const between = await snapshot(blob);
    expect(await codeOf(changes(blob.withSnapshot(between), before))).toBe('409 BlobOverwritten');
    await (await blob.beginCopyFromURL(blob.withSnapshot(before).url)).pollUntilDone();
    expect(await codeOf(changes(blob, between))).toBe('409 BlobOverwritten');
    expect(await changes(blob, await snapshot(blob))).toEqual([]);
  });

  it('a blob that is not there, is no page blob, or ends before the window', async () => {
    const blob = await disk('short', 8);
    const before = await snapshot(blob);
    expect(await codeOf(changes(container.getPageBlobClient('nowhere'), before))).toBe('404 BlobNotFound');
    await container.getBlockBlobClient('blocks').upload('x', 1);
    expect(await codeOf(changes(container.getPageBlobClient('blocks'), before))).toBe('409 InvalidBlobType');
    expect(await codeOf(listChanges(blob, before, { offset: 8 * PAGE, count: PAGE }))).toBe('416 InvalidPageRange');
  });

  it('honours conditions and leases of the blob asked about', async () => {
    const blob = await disk('conditions', 8);
    const before = await snapshot(blob);
    const stale = blob.getPageRangesDiff(0, 8 * PAGE, before, { conditions: { ifMatch: '"0x8D0"' } });
    expect(await codeOf(stale)).toBe('412 ConditionNotMet');
    const { etag } = await blob.getProperties();
    const answer = await blob.getPageRangesDiff(0, 8 * PAGE, before, { conditions: { ifMatch: etag as string } });
    expect(answer.etag).toBe(etag);
    expect(answer.blobContentLength).toBe(8 * PAGE);
  });
});

describe('a previous snapshot given as a URL', () => {
  it('compares with a snapshot of the blob', async () => {
    const blob = await disk('by-url', 16);
    await write(blob, 0, 8);
    const before = await snapshot(blob);
    await write(blob, 3, 1);
    await clear(blob, 5, 1);
    const answer = await blob.getPageRangesDiffForManagedDisks(0, 16 * PAGE, blob.withSnapshot(before).url);
    expect(answer.pageRange).toEqual([{ offset: 3 * PAGE, count: PAGE - 1 }]);
    expect(answer.clearRange).toEqual([{ offset: 5 * PAGE, count: PAGE - 1 }]);
  });

  it('compares two copies, as disk snapshots are, with a SAS for another account', async () => {
    const blob = await disk('source', 16);
    await write(blob, 0, 8);
    const first = (await storage.container('snapshots', 'stratadisks2')).getPageBlobClient('first');
    await (await first.beginCopyFromURL(await readUrl(blob))).pollUntilDone();
    await write(blob, 3, 1);
    await clear(blob, 5, 1);
    const second = container.getPageBlobClient('second');
    await (await second.beginCopyFromURL(blob.url)).pollUntilDone();
    const previous = { 'x-ms-previous-snapshot-url': await readUrl(first) };
    const answer = await rawPageList(second, 'maxresults=1', previous);
    const text = await answer.text();
    expect(text).toContain('<PageRange><Start>1536</Start><End>2047</End></PageRange>');
    const marker = /<NextMarker>([^<]+)</.exec(text)?.[1];
    const rest = await (await rawPageList(second, `maxresults=1&marker=${marker}`, previous)).text();
    expect(rest).toContain('<ClearRange><Start>2560</Start><End>3071</End></ClearRange><NextMarker/>');

    expect((await rawPageList(second, '', { 'x-ms-previous-snapshot-url': first.url })).status).toBe(403);
    expect((await rawPageList(second, '', { 'x-ms-previous-snapshot-url': 'first' })).status).toBe(400);
  });
});
