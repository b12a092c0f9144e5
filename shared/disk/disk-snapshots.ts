import type { ByteRange } from '../domain/units.ts';

/** A disk as its provider sees it now. */
export interface SourceDisk {
  /** Where it lies: the URL of a page blob, without a query; or the resource id of a managed disk, in lower case. */
  readonly url: string;
  /**
   * What tells the disk from another that is re-created in the same place: when the blob was created, by the storage's clock (ISO
   * 8601), or the managed disk's unique id.
   */
  readonly createdAt: string;
  /** A multiple of 512. */
  readonly sizeBytes: number;
  /** Of a managed disk: what one restored from it should be made with. */
  readonly managed?: ManagedTraits;
}

/** What a managed disk is besides its bytes. */
export interface ManagedTraits {
  /** `Premium_LRS` and the like. */
  readonly sku: string;
  readonly hyperVGeneration?: 'V1' | 'V2' | undefined;
}

/** One snapshot of one disk: immutable, identified by the disk's place and the provider's id of it. */
export interface DiskSnapshot {
  readonly url: string;
  /**
   * For page blobs the snapshot's time with seven decimals; for managed disks its time by Compute and its resource id. So for snapshots
   * of one disk lexicographic order is the order in time.
   */
  readonly id: string;
}

/** A snapshot that has just been taken. */
export interface TakenSnapshot extends DiskSnapshot {
  /** When, in milliseconds since the epoch by the storage's clock, or Compute's. */
  readonly takenAtMs: number;
}

/** A snapshot found in a listing, with the tags that it was taken with. */
export interface TaggedSnapshot extends DiskSnapshot {
  readonly tags: Readonly<Record<string, string>>;
}

/**
 * Something that somebody is looking for in more than one listing: its first one, and those after it, tell nothing that is older than the
 * asking for the first. One object for each; nothing in it counts.
 */
export type Look = object;

/** A run of bytes that changed between two snapshots: written (`data`) or cleared to zeros (`cleared`). */
export interface ChangedRange extends ByteRange {
  readonly kind: 'data' | 'cleared';
}

/**
 * Snapshots of source disks: taken, listed, read, compared, deleted. Every implementation passes diskSnapshotsContract.
 * All ranges ascend, do not overlap, lie inside the window and are aligned to 512 bytes; so must windows be (else RangeError).
 */
export interface DiskSnapshots {
  /** @throws BackupError UserErrorUnsupportedDisk when it is no disk or absent, StorageUnavailable, ComputeUnavailable */
  describe(url: string): Promise<SourceDisk>;
  /** Takes a snapshot now; fails as `describe` does. `tags` come back from `list`: keys are lower-case letters, values printable ASCII. */
  take(url: string, tags: Readonly<Record<string, string>>): Promise<TakenSnapshot>;
  /**
   * Yields the living snapshots of a disk. Those of a page blob go with it, those of a managed disk outlive it. What others have taken or
   * deleted within the last seconds may not show, unless `look` says since when it has to; of managed disks, snapshots without any tag of
   * Strata's are left out.
   */
  list(url: string, look?: Look): AsyncIterable<TaggedSnapshot>;
  /** The size of the disk at the snapshot, or undefined when the snapshot is gone. */
  sizeOf(snapshot: DiskSnapshot): Promise<number | undefined>;
  /** Deleting what is absent succeeds. */
  remove(snapshot: DiskSnapshot): Promise<void>;
  /** The ranges of `window` that hold data, a page of the listing at a time. @throws BackupError UserErrorInstantRpNotFound */
  allocated(snapshot: DiskSnapshot, window: ByteRange): AsyncIterable<ByteRange>;
  /**
   * What changed in `window` from `since` to `snapshot`, by the provider's word; nothing is read.
   * @throws BackupError UserErrorInstantRpNotFound when `snapshot` is gone, ChangeTrackingUnusable when the provider
   * cannot compare the two (`since` gone, newer, or of a blob that was re-created)
   */
  changed(snapshot: DiskSnapshot, since: DiskSnapshot, window: ByteRange): AsyncIterable<ChangedRange>;
  /**
   * Exactly the bytes of `range`, holes as zeros; in the first bytes of `into`, or else in memory of their own.
   * @throws BackupError UserErrorInstantRpNotFound, RangeError beyond the end
   */
  read(snapshot: DiskSnapshot, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>;
  /**
   * The bytes of `range`, which may be long, by one request: `take` gets them in order, a piece of at most 1 MiB at a time, and no more is
   * read while it works. A piece is good until `take` resolves. All but the last are whole blocks from the range's start. A stream that
   * breaks off goes on where it stopped; what `take` throws is thrown.
   * @throws BackupError UserErrorInstantRpNotFound, RangeError beyond the end
   */
  readLong(snapshot: DiskSnapshot, range: ByteRange, take: (bytes: Uint8Array) => Promise<void>): Promise<void>;
  /**
   * Whether the provider of this disk can be trusted with `changed`: a server that cannot compare answers a comparison
   * with a snapshot that never existed as if all were well. The answer names what was seen, for people.
   */
  probeChangeTracking(snapshot: DiskSnapshot): Promise<{ usable: boolean; reason: string }>;
}
