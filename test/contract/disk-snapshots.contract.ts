import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ByteRange } from '../../shared/domain/units.ts';
import type { ChangedRange, DiskSnapshot, TakenSnapshot, DiskSnapshots } from '../../shared/disk/disk-snapshots.ts';
import { snapshotTime } from '../../shared/disk/snapshot-time.ts';
import type { DiskOwner } from '../support/disk-owner.ts';

export interface DiskSnapshotsSubject {
  readonly snapshots: DiskSnapshots;
  readonly owner: DiskOwner;
  close(): Promise<void>;
}

/** Page blobs and managed disks differ in what becomes of a snapshot when its disk goes, in their ids, and in how disks shrink. */
export type DiskKind = 'page blob' | 'managed disk';

const KIB = 1_024;
const MIB = 1_048_576;
const GIB = 1_073_741_824;
const TIB = 1_099_511_627_776;

/**
 * What every implementation of DiskSnapshots promises. `diff` says whether the provider behind it compares snapshots, or
 * answers a comparison with everything that is allocated: then the probe must say so.
 */
export function diskSnapshotsContract(
  implementation: string,
  diff: 'exact' | 'lying',
  start: () => Promise<DiskSnapshotsSubject>,
  kind: DiskKind = 'page blob',
): void {
  const managed = kind === 'managed disk';
  describe(`disk snapshots: ${implementation}`, () => {
    let subject: DiskSnapshotsSubject;
    let snapshots: DiskSnapshots;
    let owner: DiskOwner;
    beforeAll(async () => {
      subject = await start();
      ({ snapshots, owner } = subject);
    });
    afterAll(() => subject?.close());

    async function newDisk(sizeBytes: number, name?: string): Promise<string> {
      const url = owner.newUrl(name);
      await owner.create(url, sizeBytes);
      return url;
    }
    const allocated = (snapshot: DiskSnapshot, start: number, end: number) =>
      collected<ByteRange>(snapshots.allocated(snapshot, { start, end }));
    const changed = (snapshot: DiskSnapshot, since: DiskSnapshot, start: number, end: number) =>
      collected<ChangedRange>(snapshots.changed(snapshot, since, { start, end }));

    describe('a disk', () => {
      it('is described', async () => {
        const earliestMs = Date.now() - 5_000;
        const url = await newDisk(10 * MIB + 512, managed ? 'disk_1.data' : 'folder/größe & co.vhd');
        const { createdAt, ...rest } = await snapshots.describe(url);
        const traits = managed ? { managed: { sku: expect.stringMatching(/^(Standard|Premium)_LRS$/) } } : {};
        expect(rest).toMatchObject({ url, sizeBytes: 10 * MIB + 512, ...traits });
        if (managed) {
          expect(createdAt).toMatch(/^[0-9a-f-]{36}$/);
          expect(await snapshots.describe(url.toUpperCase())).toEqual({ ...rest, createdAt });
        } else {
          expect(new Date(createdAt).toISOString()).toBe(createdAt);
          expect(Date.parse(createdAt)).toBeGreaterThan(earliestMs);
        }
        expect((await snapshots.describe(url)).createdAt).toBe(createdAt);
      });

      it('is refused when it is absent, in an absent container, or no page blob', async () => {
        const url = await newDisk(512);
        const code = 'UserErrorUnsupportedDisk';
        for (const absent of [`${url}.not`, owner.newUrl()]) {
          await expect(snapshots.describe(absent)).rejects.toMatchObject({ code });
          await expect(snapshots.take(absent, { set: '1' })).rejects.toMatchObject({ code });
        }
        if (managed) return;
        const text = owner.newUrl('notes.txt');
        await owner.putText(text, 'no disk');
        await expect(snapshots.describe(text)).rejects.toMatchObject({
          code,
          message: expect.stringContaining('BlockBlob'),
        });
      });
    });

    describe('a snapshot', () => {
      it('stays as it was while the disk goes on', async () => {
        const url = await newDisk(MIB);
        await owner.write(url, 4 * KIB, filled(8 * KIB, 1));
        const snapshot = await snapshots.take(url, {});
        await owner.write(url, 6 * KIB, filled(2 * KIB, 2));
        await owner.clear(url, { start: 8 * KIB, end: 10 * KIB });
        await owner.write(url, 500 * KIB, filled(512, 3));
        expect(await snapshots.read(snapshot, { start: 0, end: 16 * KIB })).toEqual(
          joined(filled(4 * KIB, 0), filled(8 * KIB, 1), filled(4 * KIB, 0)),
        );
        expect(await allocated(snapshot, 0, MIB)).toEqual([{ start: 4 * KIB, end: 12 * KIB }]);
        const later = await snapshots.take(url, {});
        expect(later.id > snapshot.id).toBe(true);
        expect(await allocated(later, 0, MIB)).toEqual([
          { start: 4 * KIB, end: 8 * KIB },
          { start: 10 * KIB, end: 12 * KIB },
          { start: 500 * KIB, end: 500 * KIB + 512 },
        ]);
        const used = new Uint8Array(20 * KIB).fill(7);
        expect(Buffer.from(await snapshots.read(snapshot, { start: 0, end: 16 * KIB }, used))).toEqual(
          Buffer.from(await snapshots.read(snapshot, { start: 0, end: 16 * KIB })),
        );
        expect(await snapshots.read(later, { start: 7 * KIB, end: 11 * KIB })).toEqual(
          joined(filled(KIB, 2), filled(2 * KIB, 0), filled(KIB, 1)),
        );
      });

      it('has an id that begins with its time, and its tags, in the order of time', async () => {
        const url = await newDisk(MIB, 'tagged.vhd');
        await owner.create(`${url}.bak`, 512);
        await snapshots.take(`${url}.bak`, { job: 'other' });
        const taken: TakenSnapshot[] = [];
        for (let n = 0; n < 4; n++) {
          taken.push(await snapshots.take(url, { job: `job-${n}`, vault: `/a;b/<c> & "d"=${n}` }));
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        const form = managed
          ? /^[-\dT:]{19}\.\d{3}Z\/subscriptions\/.*\/snapshots\/strata-[^/]+$/
          : /^[-\dT:]{19}\.\d{7}Z$/;
        for (const { id } of taken) expect(id).toMatch(form);
        const clock = managed ? 'compute' : 'storage';
        for (const { id, takenAtMs } of taken) expect(snapshotTime(id)).toEqual({ clock, atMs: takenAtMs });
        expect(taken.map(({ id }) => id)).toEqual([...new Set(taken.map(({ id }) => id))].sort());
        expect(await collected(snapshots.list(url))).toEqual(
          taken.map(({ id }, n) => ({ url, id, tags: { job: `job-${n}`, vault: `/a;b/<c> & "d"=${n}` } })),
        );
      });

      it('goes once and for all', async () => {
        const url = await newDisk(MIB);
        await owner.write(url, 0, filled(512, 1));
        const first = await snapshots.take(url, { n: 'first' });
        await owner.write(url, 0, filled(512, 2));
        const second = await snapshots.take(url, { n: 'second' });
        expect(await snapshots.sizeOf(first)).toBe(MIB);
        await snapshots.remove(first);
        await snapshots.remove(first);
        expect(await snapshots.sizeOf(first)).toBeUndefined();
        expect((await collected(snapshots.list(url))).map(({ id }) => id)).toEqual([second.id]);
        const code = 'UserErrorInstantRpNotFound';
        await expect(snapshots.read(first, { start: 0, end: 512 })).rejects.toMatchObject({ code });
        await expect(allocated(first, 0, MIB)).rejects.toMatchObject({ code });
        await expect(changed(first, second, 0, MIB)).rejects.toMatchObject({ code });
        expect(await snapshots.read(second, { start: 0, end: 512 })).toEqual(filled(512, 2));
      });

      it('keeps tags of any length', async () => {
        const url = await newDisk(512);
        const tags = { about: Array.from({ length: 90 }, (_, n) => `word ${n}`).join('  '), point: '1' };
        await snapshots.take(url, tags);
        const [found] = await collected(snapshots.list(url));
        expect(found?.tags).toEqual(tags);
      });

      it(managed ? 'outlives its disk' : 'goes with its disk', async () => {
        const url = await newDisk(MIB);
        await owner.write(url, 512, filled(512, 1));
        const snapshot = await snapshots.take(url, { n: '1' });
        await owner.delete(url);
        expect(await collected(snapshots.list(owner.newUrl()))).toEqual([]);
        if (managed) {
          expect(await collected(snapshots.list(url))).toEqual([{ url, id: snapshot.id, tags: { n: '1' } }]);
          expect(await allocated(snapshot, 0, MIB)).toEqual([{ start: 512, end: 1_024 }]);
          await snapshots.remove(snapshot);
        }
        expect(await collected(snapshots.list(url))).toEqual([]);
        expect(await snapshots.sizeOf(snapshot)).toBeUndefined();
        await snapshots.remove(snapshot);
        const code = 'UserErrorInstantRpNotFound';
        await expect(allocated(snapshot, 0, MIB)).rejects.toMatchObject({ code });
        await expect(snapshots.probeChangeTracking(snapshot)).rejects.toMatchObject({ code });
      });
    });

    describe('windows', () => {
      it('cut at any sector and yield nothing beyond the end', async () => {
        const url = await newDisk(MIB + 512);
        await owner.write(url, 0, filled(3 * KIB, 1));
        await owner.write(url, 5 * KIB, filled(512, 2));
        await owner.write(url, MIB, filled(512, 3));
        const snapshot = await snapshots.take(url, {});
        expect(await allocated(snapshot, 512, 1_024)).toEqual([{ start: 512, end: 1_024 }]);
        expect(await allocated(snapshot, 2_560, 5_632)).toEqual([
          { start: 2_560, end: 3_072 },
          { start: 5_120, end: 5_632 },
        ]);
        expect(await allocated(snapshot, 3_072, 5_120)).toEqual([]);
        expect(await allocated(snapshot, 512, 512)).toEqual([]);
        expect(await allocated(snapshot, MIB, 10 * MIB)).toEqual([{ start: MIB, end: MIB + 512 }]);
        expect(await allocated(snapshot, MIB + 512, 2 * MIB)).toEqual([]);
        expect(await allocated(snapshot, 4 * MIB, 5 * MIB)).toEqual([]);
        await expect(allocated(snapshot, 1, 512)).rejects.toBeInstanceOf(RangeError);
      });

      it('read any bytes exactly, large and small, and none beyond the end', async () => {
        const url = await newDisk(16 * MIB);
        const body = new Uint8Array(9 * MIB);
        for (let i = 0; i < body.length; i += 512) body.fill((i / 512) % 251, i, i + 512);
        await owner.write(url, MIB, body);
        const snapshot = await snapshots.take(url, {});
        const whole = await snapshots.read(snapshot, { start: 0, end: 16 * MIB });
        expect(Buffer.compare(whole, joined(filled(MIB, 0), body, filled(6 * MIB, 0)))).toBe(0);
        for (const [start, end] of [
          [MIB - 3, MIB + 700],
          [5 * MIB - 1, 5 * MIB + 1],
          [7, 8],
          [9, 9],
        ] as const) {
          expect(await snapshots.read(snapshot, { start, end })).toEqual(whole.slice(start, end));
        }
        const beyond = snapshots.read(snapshot, { start: 16 * MIB - 512, end: 16 * MIB + 512 });
        await expect(beyond).rejects.toBeInstanceOf(RangeError);
        await expect(snapshots.read(snapshot, { start: 20 * MIB, end: 21 * MIB })).rejects.toBeInstanceOf(RangeError);
      });

      it('hand on a long range in order, a piece at a time, by one request', async () => {
        const url = await newDisk(12 * MIB);
        const body = new Uint8Array(9 * MIB + 512);
        for (let i = 0; i < body.length; i += 512) body.fill((i / 512) % 251, i, i + 512);
        await owner.write(url, MIB, body);
        const snapshot = await snapshots.take(url, {});
        const range = { start: MIB - 16 * KIB, end: 11 * MIB - 512 };
        const whole = await snapshots.read(snapshot, range);
        const lengths: number[] = [];
        let at = 0;
        let isTaking = false;
        await snapshots.readLong(snapshot, range, async (bytes) => {
          expect(isTaking).toBe(false);
          isTaking = true;
          const piece = Buffer.from(bytes);
          await new Promise((resolve) => setImmediate(resolve));
          expect(Buffer.compare(bytes, piece)).toBe(0); // good until this resolves
          expect(Buffer.compare(piece, whole.subarray(at, at + piece.length))).toBe(0);
          at += piece.length;
          lengths.push(piece.length);
          isTaking = false;
        });
        expect(at).toBe(whole.length);
        expect(Math.max(...lengths)).toBeLessThanOrEqual(MIB);
        expect(lengths.slice(0, -1).every((length) => length % (16 * KIB) === 0)).toBe(true);

        const failing = snapshots.readLong(snapshot, range, () => Promise.reject(new TypeError('the taker')));
        await expect(failing).rejects.toThrow(new TypeError('the taker'));
        const beyond = snapshots.readLong(snapshot, { start: 11 * MIB, end: 13 * MIB }, async () => {});
        await expect(beyond).rejects.toBeInstanceOf(RangeError);
        await snapshots.remove(snapshot);
        const gone = snapshots.readLong(snapshot, range, async () => {});
        await expect(gone).rejects.toMatchObject({ code: 'UserErrorInstantRpNotFound' });
      });

      it('find one sector in 4 TiB', async () => {
        const url = await newDisk(4 * TIB);
        await owner.write(url, 3 * TIB, filled(512, 7));
        const snapshot = await snapshots.take(url, {});
        expect(await snapshots.sizeOf(snapshot)).toBe(4 * TIB);
        expect(await allocated(snapshot, 0, 4 * TIB)).toEqual([{ start: 3 * TIB, end: 3 * TIB + 512 }]);
        expect(await snapshots.read(snapshot, { start: 3 * TIB, end: 3 * TIB + 512 })).toEqual(filled(512, 7));
      });
    });

    if (diff === 'lying') {
      it('is found out by the probe, again and again', async () => {
        const url = await newDisk(MIB);
        await owner.write(url, 0, filled(4 * KIB, 1));
        await owner.write(url, 8 * KIB, filled(4 * KIB, 1));
        const since = await snapshots.take(url, {});
        await owner.clear(url, { start: 8 * KIB, end: 12 * KIB });
        const snapshot = await snapshots.take(url, {});
        // What a provider that cannot compare says: the untouched range has changed, the cleared one has not.
        expect(await changed(snapshot, since, 0, MIB)).toEqual([{ kind: 'data', start: 0, end: 4 * KIB }]);
        for (let n = 0; n < 2; n++) {
          const { usable, reason } = await snapshots.probeChangeTracking(snapshot);
          expect({ usable, reason }).toEqual({ usable: false, reason: expect.stringContaining('never existed') });
        }
      });
      return;
    }

    describe('changes', () => {
      it('are trusted after the probe', async () => {
        const url = await newDisk(MIB);
        const snapshot = await snapshots.take(url, {});
        expect(await snapshots.probeChangeTracking(snapshot)).toMatchObject({ usable: true });
        expect(await snapshots.probeChangeTracking(snapshot)).toMatchObject({ usable: true });
      });

      it('are exactly what was written and what was cleared', async () => {
        const url = await newDisk(MIB);
        await owner.write(url, 0, filled(64 * KIB, 1));
        await owner.write(url, 128 * KIB, filled(64 * KIB, 1));
        const first = await snapshots.take(url, {});
        await owner.write(url, 3 * 512, filled(512, 2));
        await owner.write(url, 4 * 512, filled(512, 1)); // the same bytes again: written all the same
        await owner.clear(url, { start: 32 * KIB, end: 33 * KIB });
        await owner.write(url, 33 * KIB, filled(512, 3)); // touches what was cleared
        await owner.write(url, 700 * KIB, filled(2 * KIB, 4));
        await owner.write(url, 800 * KIB, filled(2 * KIB, 4));
        await owner.clear(url, { start: 800 * KIB, end: 802 * KIB }); // came and went: no change
        const second = await snapshots.take(url, {});
        expect(await changed(second, first, 0, MIB)).toEqual([
          { kind: 'data', start: 1_536, end: 2_560 },
          { kind: 'cleared', start: 32 * KIB, end: 33 * KIB },
          { kind: 'data', start: 33 * KIB, end: 33 * KIB + 512 },
          { kind: 'data', start: 700 * KIB, end: 702 * KIB },
        ]);
        expect(await changed(second, first, 2_048, 32 * KIB + 512)).toEqual([
          { kind: 'data', start: 2_048, end: 2_560 },
          { kind: 'cleared', start: 32 * KIB, end: 32 * KIB + 512 },
        ]);
        expect(await changed(second, first, 512 * KIB, 512 * KIB)).toEqual([]);
        expect(await changed(second, first, 2 * MIB, 3 * MIB)).toEqual([]);
        const third = await snapshots.take(url, {});
        expect(await changed(third, second, 0, MIB)).toEqual([]);
        expect(await changed(third, first, 0, MIB)).toEqual(await changed(second, first, 0, MIB));
      });

      it('cross a growth', async () => {
        const url = await newDisk(managed ? GIB : MIB);
        await owner.write(url, 0, filled(KIB, 1));
        const first = await snapshots.take(url, {});
        await owner.resize(url, 2 * GIB);
        await owner.write(url, GIB, filled(KIB, 2));
        const grown = await snapshots.take(url, {});
        expect(await snapshots.sizeOf(grown)).toBe(2 * GIB);
        expect(await changed(grown, first, 0, 2 * GIB)).toEqual([{ kind: 'data', start: GIB, end: GIB + KIB }]);
      });

      it('cross a resize', async () => {
        if (managed) return; // a managed disk never shrinks
        const url = await newDisk(MIB);
        await owner.write(url, 0, filled(KIB, 1));
        await owner.write(url, 512 * KIB, filled(KIB, 1));
        const first = await snapshots.take(url, {});
        await owner.resize(url, 256 * KIB);
        const small = await snapshots.take(url, {});
        expect(await snapshots.sizeOf(small)).toBe(256 * KIB);
        expect(await snapshots.sizeOf(first)).toBe(MIB);
        expect(await allocated(small, 0, MIB)).toEqual([{ start: 0, end: KIB }]);
        expect(await changed(small, first, 0, 256 * KIB)).toEqual([]);
        await owner.resize(url, 2 * MIB);
        await owner.write(url, MIB, filled(KIB, 2));
        const grown = await snapshots.take(url, {});
        expect(await snapshots.read(grown, { start: 512 * KIB, end: 513 * KIB })).toEqual(filled(KIB, 0));
        expect(await changed(grown, small, 0, 2 * MIB)).toEqual([{ kind: 'data', start: MIB, end: MIB + KIB }]);
        expect(await changed(grown, first, 0, 2 * MIB)).toEqual([
          { kind: 'cleared', start: 512 * KIB, end: 513 * KIB },
          { kind: 'data', start: MIB, end: MIB + KIB },
        ]);
      });

      it('cannot be told from a snapshot that is gone, newer, of another disk, or of a blob that was replaced', async () => {
        const code = 'ChangeTrackingUnusable';
        const url = await newDisk(MIB);
        await owner.write(url, 0, filled(KIB, 1));
        const first = await snapshots.take(url, {});
        await new Promise((resolve) => setTimeout(resolve, 5));
        const second = await snapshots.take(url, { n: '2' });
        await expect(changed(first, second, 0, MIB)).rejects.toMatchObject({ code });
        const other = await newDisk(MIB);
        const foreign = await snapshots.take(other, {});
        await expect(changed(second, foreign, 0, MIB)).rejects.toMatchObject({ code });
        await snapshots.remove(first);
        await expect(changed(second, first, 0, MIB)).rejects.toMatchObject({ code });

        // Storage tells a blob's creation to the second: a blob that is replaced sooner could not be told by its time.
        if (!managed) await new Promise((resolve) => setTimeout(resolve, 1_100));
        await owner.create(url, MIB);
        await owner.write(url, 0, filled(KIB, 2));
        const replaced = await snapshots.take(url, { n: '3' });
        expect((await collected(snapshots.list(url))).map(({ id }) => id)).toEqual([second.id, replaced.id]);
        await expect(changed(replaced, second, 0, MIB)).rejects.toMatchObject({ code });
        expect(await allocated(second, 0, MIB)).toEqual([{ start: 0, end: KIB }]);
      });

      it('are told whole when there are two thousand and one', async () => {
        const url = await newDisk(32 * MIB);
        const first = await snapshots.take(url, {});
        const expected: ChangedRange[] = [];
        const writes: Promise<void>[] = [];
        for (let n = 0; n < 2_001; n++) {
          const start = n * 16 * KIB;
          expected.push({ kind: 'data', start, end: start + 512 });
          writes.push(owner.write(url, start, filled(512, 1)));
          if (writes.length === 8) await Promise.all(writes.splice(0));
        }
        await Promise.all(writes);
        const second = await snapshots.take(url, {});
        expect(await changed(second, first, 0, 32 * MIB)).toEqual(expected);
        expect(await allocated(second, 0, 32 * MIB)).toEqual(expected.map(({ start, end }) => ({ start, end })));
      });
    });
  });
}

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
