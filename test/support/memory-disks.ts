import type { Clock } from '../../shared/domain/clock.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import { SECTOR_BYTES, type ByteRange } from '../../shared/domain/units.ts';
import type { ChangedRange, DiskSnapshot, DiskSnapshots, TaggedSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { isManagedDisk } from '../../shared/disk/managed-ids.ts';
import { piecesOf } from '../../shared/disk/page-blob-pieces.ts';
import { assertSectors } from '../../shared/disk/page-blob-ranges.ts';
import { snapshotTime } from '../../shared/disk/snapshot-time.ts';
import type { RestoreTargets } from '../../shared/disk/restore-targets.ts';
import type { DiskOwner } from './disk-owner.ts';
import type { MemoryBlob, MemoryStore } from './memory-store.ts';
import { memoryTargets, type PerformRequest } from './memory-targets.ts';
import { putInto } from './put-into.ts';
import { SparseBytes } from './sparse-bytes.ts';

/** A provider of disks in memory, for seeded simulations: the same history gives the same answers. */
export interface MemoryDisks extends DiskOwner {
  readonly snapshots: DiskSnapshots;
  readonly targets: RestoreTargets;
  /** Restore targets that see each request of their own before it reaches the provider, to end them in the middle. */
  targetsThrough(perform: PerformRequest): RestoreTargets;
  /** The disk's bytes as its VM reads them now. */
  read(url: string, range: ByteRange): Promise<Uint8Array>;
  sizeBytes(url: string): number;
  /** All blobs and managed disks, in the order of their creation. */
  urls(): string[];
  /** Where there are snapshots, though the disk may be gone. */
  snapshotted(): string[];
}

interface MemorySnapshot {
  readonly tags: Readonly<Record<string, string>>;
  readonly generation: number;
  readonly sizeBytes: number;
  readonly bytes: SparseBytes;
}

export interface MemoryDisksOptions {
  /** The storage's own clock. */
  readonly clock: Clock;
  /**
   * `exact`: pages written since are data, pages emptied since are cleared. `lying`: as a server that ignores the earlier
   * snapshot: everything allocated is data, nothing is ever cleared, and nothing is refused.
   */
  readonly diff?: 'exact' | 'lying';
  /** What `newUrl` gives. Default page blob. Whatever is asked of a resource id is asked of a managed disk. */
  readonly kind?: 'page blob' | 'managed disk';
  /** After so many ranges a listing looks again whether its snapshot still exists. Default 10,000. */
  readonly rangesPerPage?: number;
}

export function memoryDisks({
  clock,
  diff = 'exact',
  rangesPerPage = 10_000,
  kind = 'page blob',
}: MemoryDisksOptions): MemoryDisks {
  const blobs = new Map<string, MemoryBlob>();
  const snapshotsOf = new Map<string, Map<string, MemorySnapshot>>();
  let generations = 0;
  let writes = 0;
  let urlsGiven = 0;
  let snapshotsTaken = 0;
  let lastTicks = 0n;

  /** Later than every one before: a time as page blobs have it, or Compute's and a resource id, for which a millisecond is all. */
  function nextSnapshotId(url: string): string {
    if (isManagedDisk(url)) {
      snapshotsTaken += 1;
      const ms = BigInt(clock.now());
      const atMs = ms > lastTicks / 10_000n ? ms : lastTicks / 10_000n;
      lastTicks = atMs * 10_000n > lastTicks ? atMs * 10_000n : lastTicks;
      const name = `strata-${String(snapshotsTaken).padStart(8, '0')}`;
      const group = '/subscriptions/sub/resourcegroups/snapshots';
      return `${new Date(Number(atMs)).toISOString()}${group}/providers/microsoft.compute/snapshots/${name}`;
    }
    const ticks = BigInt(clock.now()) * 10_000n;
    lastTicks = ticks > lastTicks ? ticks : lastTicks + 1n;
    const iso = new Date(Number(lastTicks / 10_000n)).toISOString();
    return `${iso.slice(0, -1)}${String(lastTicks % 10_000n).padStart(4, '0')}Z`;
  }

  const store: MemoryStore = {
    blobs,
    replace(url, given) {
      generations += 1;
      const blob: MemoryBlob = {
        createdAtMs: clock.now(),
        generation: generations,
        metadata: {},
        leaseId: undefined,
        bytes: new SparseBytes(),
        text: undefined,
        ...given,
      };
      blobs.set(url, blob);
      return blob;
    },
    write({ bytes, sizeBytes }, offset, body) {
      if (offset % SECTOR_BYTES !== 0 || body.byteLength % SECTOR_BYTES !== 0 || offset + body.byteLength > sizeBytes) {
        throw new RangeError(`write of ${body.byteLength} bytes at ${offset} on a disk of ${sizeBytes}`);
      }
      writes += 1;
      bytes.write(offset, body, writes);
    },
    delete(url) {
      blobs.delete(url);
      if (!isManagedDisk(url)) snapshotsOf.delete(url);
    },
  };

  function disk(url: string): MemoryBlob {
    const found = blobs.get(url);
    if (found === undefined || found.text !== undefined) {
      const what = found === undefined ? 'there is no such blob' : 'a BlockBlob was found';
      throw new BackupError('UserErrorUnsupportedDisk', `${url} cannot be used as a disk: ${what}`, { target: url });
    }
    return found;
  }

  const find = ({ url, id }: DiskSnapshot): MemorySnapshot | undefined => snapshotsOf.get(url)?.get(id);

  function living(snapshot: DiskSnapshot): MemorySnapshot {
    const found = find(snapshot);
    if (found !== undefined) return found;
    const message = `snapshot ${snapshot.id} of ${snapshot.url} does not exist any more`;
    throw new BackupError('UserErrorInstantRpNotFound', message, { target: snapshot.url });
  }

  /** Passes ranges on, looking for the snapshot again where a server would begin another page. */
  function* paged<T>(snapshot: DiskSnapshot, ranges: Iterable<T>): Generator<T> {
    let count = 0;
    for (const range of ranges) {
      if (count % rangesPerPage === 0) living(snapshot);
      count += 1;
      yield range;
    }
  }

  const clip = (window: ByteRange, sizeBytes: number): ByteRange => {
    assertSectors(window);
    return { start: Math.min(window.start, sizeBytes), end: Math.min(window.end, sizeBytes) };
  };

  const snapshots: DiskSnapshots = {
    async describe(given) {
      const url = isManagedDisk(given) ? given.toLowerCase() : given;
      const { createdAtMs, sizeBytes, generation } = disk(url);
      if (isManagedDisk(url)) {
        const createdAt = `00000000-0000-4000-8000-${String(generation).padStart(12, '0')}`;
        return { url, createdAt, sizeBytes, managed: { sku: 'Premium_LRS', hyperVGeneration: 'V2' } };
      }
      // Page blobs tell their creation to the second.
      return { url, createdAt: new Date(Math.floor(createdAtMs / 1_000) * 1_000).toISOString(), sizeBytes };
    },
    async take(url, tags) {
      const { generation, sizeBytes, bytes, metadata } = disk(url);
      const id = nextSnapshotId(url);
      const taken = snapshotsOf.get(url) ?? new Map<string, MemorySnapshot>();
      snapshotsOf.set(url, taken);
      // A snapshot without metadata of its own gets the disk's.
      const kept = Object.keys(tags).length === 0 ? metadata : tags;
      taken.set(id, { tags: { ...kept }, generation, sizeBytes, bytes: bytes.copy() });
      return { url, id, takenAtMs: snapshotTime(id)!.atMs };
    },
    async *list(url): AsyncGenerator<TaggedSnapshot> {
      for (const [id, { tags }] of snapshotsOf.get(url) ?? []) yield { url, id, tags: { ...tags } };
    },
    async sizeOf(snapshot) {
      return find(snapshot)?.sizeBytes;
    },
    async remove({ url, id }) {
      snapshotsOf.get(url)?.delete(id);
    },
    async *allocated(snapshot, window): AsyncGenerator<ByteRange> {
      const { bytes, sizeBytes } = living(snapshot);
      yield* paged(snapshot, bytes.allocated(clip(window, sizeBytes)));
    },
    async *changed(snapshot, since, window): AsyncGenerator<ChangedRange> {
      const now = living(snapshot);
      const clipped = clip(window, now.sizeBytes);
      if (diff === 'lying') {
        const ranges = [...now.bytes.allocated(clipped)].map((range) => ({ kind: 'data' as const, ...range }));
        yield* paged(snapshot, ranges);
        return;
      }
      const then = since.url === snapshot.url ? find(since) : undefined;
      const reason =
        then === undefined
          ? 'PreviousSnapshotNotFound'
          : since.id > snapshot.id
            ? 'PreviousSnapshotCannotBeNewer'
            : then.generation === now.generation
              ? undefined
              : 'BlobOverwritten';
      if (then === undefined || reason !== undefined) {
        const message = `snapshot ${snapshot.id} of ${snapshot.url} cannot be compared with that of ${since.id}: ${reason}`;
        throw new BackupError('ChangeTrackingUnusable', message, { target: snapshot.url });
      }
      yield* paged(snapshot, now.bytes.changedSince(then.bytes, clipped));
    },
    async read(snapshot, range, into) {
      const { bytes, sizeBytes } = living(snapshot);
      if (range.end > sizeBytes) throw new RangeError(`bytes ${range.start} to ${range.end} lie beyond the end`);
      return putInto(into, bytes.read(range));
    },
    async readLong(snapshot, range, take) {
      if (range.end > living(snapshot).sizeBytes) throw new RangeError(`bytes up to ${range.end} lie beyond the end`);
      for (const piece of piecesOf(range, 1_048_576)) await take(await snapshots.read(snapshot, piece));
    },
    async probeChangeTracking(snapshot) {
      living(snapshot);
      return diff === 'exact'
        ? { usable: true, reason: 'a comparison with a snapshot that never existed was refused' }
        : { usable: false, reason: 'a comparison with a snapshot that never existed was answered' };
    },
  };

  function blob(url: string): MemoryBlob {
    const found = blobs.get(url);
    if (found === undefined) throw new Error(`there is no blob ${url}`);
    return found;
  }

  return {
    snapshots,
    targets: memoryTargets(store, async (request) => request()),
    targetsThrough: (perform) => memoryTargets(store, perform),
    urls: () => [...blobs.keys()],
    snapshotted: () => [...snapshotsOf].flatMap(([url, taken]) => (taken.size > 0 ? [url] : [])),
    sizeBytes: (url) => disk(url).sizeBytes,
    read: async (url, range) => disk(url).bytes.read(range),

    newUrl(name = 'disk.vhd') {
      urlsGiven += 1;
      if (kind === 'managed disk') {
        return `/subscriptions/sub/resourcegroups/set${urlsGiven}/providers/microsoft.compute/disks/${name}`;
      }
      return `https://disks.blob.example/set${urlsGiven}/${name.split('/').map(encodeURIComponent).join('/')}`;
    },
    async create(url, sizeBytes, metadata = {}) {
      store.replace(url, { sizeBytes, metadata: { ...metadata } });
    },
    async write(url, offset, body) {
      store.write(disk(url), offset, body);
    },
    async clear(url, range) {
      assertSectors(range);
      disk(url).bytes.clear(range);
    },
    async resize(url, sizeBytes) {
      const resized = disk(url);
      if (sizeBytes < resized.sizeBytes) resized.bytes.clear({ start: sizeBytes, end: resized.sizeBytes });
      resized.sizeBytes = sizeBytes;
    },
    async delete(url) {
      store.delete(url);
    },
    async putText(url, text) {
      store.replace(url, { sizeBytes: Buffer.byteLength(text), text });
    },
    async text(url) {
      return blob(url).text ?? '';
    },
    async metadata(url) {
      const found = blobs.get(url);
      return found === undefined ? undefined : { ...found.metadata };
    },
    async setMetadata(url, metadata, leaseId) {
      const found = blob(url);
      if (found.leaseId !== leaseId) throw new Error(`another lease is on ${url}`);
      found.metadata = { ...metadata };
    },
    async breakLease(url) {
      blob(url).leaseId = undefined;
    },
    async lease(url, leaseId) {
      blob(url).leaseId = leaseId;
    },
    async isLeased(url) {
      return blob(url).leaseId !== undefined;
    },
  };
}
