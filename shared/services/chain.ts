import type { z } from 'zod';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { AttemptId, ItemId, PointId } from '../domain/ids.ts';
import { decodeDocument, documentDigest, encodeDocument } from '../format/document.ts';
import {
  type ChainRecord,
  type Manifest,
  type ManifestPart,
  type ManifestRegion,
  type PartRef,
  type RecordPoint,
  chainRecord,
  manifest,
  manifestPart,
} from '../format/documents.ts';
import { chainPrefix, manifestName, manifestPartName, recordName, recordSeq } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { inOrder } from './pipeline.ts';
import { sumOfLayers } from './spans.ts';

/** Manifests read at once. */
const READS_IN_FLIGHT = 16;

/*
 * The chain of an item is its truth: record <seq> names every live point with the manifest that the point has now, and an item
 * changes in one moment, when the record after the newest is created. Only one writer can create a name, so of two that plan on
 * the same record one wins and the other plans again. Records are never deleted while the item's id exists; the newest is found
 * by listing.
 *
 * The answer to a create can get lost, and a client library may have tried twice. So "exists" says nothing about who won: the
 * attempt in the record does.
 */

/** What a new record says differently from the one before. */
export type NextRecord = Pick<ChainRecord, 'kind' | 'attempt' | 'job' | 'writtenAt'> &
  Partial<Pick<ChainRecord, 'state' | 'points'>>;

/** The chain of one protected item. */
export class Chain {
  readonly #container: VaultContainer;
  readonly item: ItemId;

  constructor(container: VaultContainer, item: ItemId) {
    this.#container = container;
    this.item = item;
  }

  /** Writes the first record, or finds that it is there. */
  async start(first: NextRecord & Pick<ChainRecord, 'vm'>): Promise<void> {
    const record: ChainRecord = { format: 1, item: this.item, seq: 1, state: 'protected', points: [], ...first };
    try {
      await this.#create(record);
    } catch (error) {
      if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
    }
  }

  /**
   * Takes the first record away again, where it is the only one: its item came too late, and no row has ever said that it exists. (A
   * rebuild that comes in between has put its own record after it, and keeps what it has seen.)
   */
  async withdraw(): Promise<void> {
    if ((await this.newest()).seq === 1) await this.#container.delete(recordName(this.item, 1));
  }

  /** The newest record. @throws BackupError VaultObjectMissing when the item has none, DocumentCorrupt */
  async newest(): Promise<ChainRecord> {
    let newest = 0;
    for await (const { name } of this.#container.list(chainPrefix(this.item)))
      newest = Math.max(newest, recordSeq(name));
    if (newest === 0) {
      const message = `item ${this.item} has no chain record in its vault`;
      throw new BackupError('VaultObjectMissing', message, { target: chainPrefix(this.item) });
    }
    return this.#read(newest);
  }

  /**
   * Does `work` on the newest record. What is missing under a record that is the newest no more has been replaced, by a merge say, and
   * its deletes have been done: then it is done again on the record that is the newest now. Only a miss under an unchanged one is damage.
   */
  async onNewest<T>(work: (record: ChainRecord) => Promise<T>): Promise<T> {
    for (let record = await this.newest(); ;) {
      try {
        return await work(record);
      } catch (error) {
        if (!isBackupError(error, 'VaultObjectMissing')) throw error;
        const now = await this.newest();
        if (now.seq === record.seq) throw error;
        record = now;
      }
    }
  }

  /**
   * Creates the record after `base` with `next`'s changes. Answers whether it is the caller's: whoever's attempt stands in the
   * record has won, whatever the storage answered.
   */
  async append(base: ChainRecord, next: NextRecord): Promise<{ won: boolean; record: ChainRecord }> {
    const record: ChainRecord = { ...base, ...next, seq: base.seq + 1 };
    try {
      await this.#create(record);
      return { won: true, record };
    } catch (error) {
      if (!isBackupError(error, 'BlobAlreadyExists', 'StorageUnavailable')) throw error;
      const standing = await this.#read(record.seq).catch((unread: unknown) => {
        throw isBackupError(unread, 'BlobNotFound') ? error : unread;
      });
      return { won: standing.attempt === next.attempt, record: standing };
    }
  }

  /** The record in which one of `attempts` committed, among those after `afterSeq`; undefined when none has. */
  async committed(
    attempts: readonly AttemptId[],
    afterSeq: number,
    newest: ChainRecord,
  ): Promise<ChainRecord | undefined> {
    for (let seq = newest.seq; seq > afterSeq; seq--) {
      const record = seq === newest.seq ? newest : await this.#read(seq);
      if (attempts.includes(record.attempt)) return record;
    }
    return undefined;
  }

  /** Record `seq`, which must not be after the newest. @throws BackupError BlobNotFound, DocumentCorrupt */
  record(seq: number): Promise<ChainRecord> {
    return this.#read(seq);
  }

  /** The manifest that a record names. @throws BackupError VaultObjectMissing, DocumentCorrupt */
  async manifest(entry: RecordPoint): Promise<Manifest> {
    try {
      return decodeDocument(entry.manifest, await this.#container.readWhole(entry.manifest), manifest, entry.sha256);
    } catch (error) {
      if (!isBackupError(error, 'BlobNotFound')) throw error;
      throw new BackupError('VaultObjectMissing', `manifest ${entry.manifest} is gone`, {
        cause: error,
        target: entry.manifest,
      });
    }
  }

  /**
   * What is needed to see the disks of point `upTo`: its manifest and those before it, oldest first. Lost manifests of points from
   * before its disks' chains begin are left out.
   * @throws BackupError VaultObjectMissing, DocumentCorrupt
   */
  async history(record: ChainRecord, upTo: PointId): Promise<Manifest[]> {
    const { manifests, lost } = await this.readable(record, upTo);
    const disks = manifests.find(({ point }) => point === upTo)?.disks ?? [];
    const needed = lost.find(({ point }) => point === upTo || disks.some(({ begins }) => (begins ?? '') <= point));
    if (needed !== undefined) throw needed.error;
    return manifests;
  }

  /**
   * The manifests that can be read of the record's points (up to `upTo`), oldest first, and the points whose manifests are lost. Those of
   * which `isWanted` says no are left out.
   */
  async readable(
    record: ChainRecord,
    upTo?: PointId,
    isWanted: (entry: RecordPoint) => boolean = () => true,
  ): Promise<{ manifests: Manifest[]; lost: { point: PointId; error: BackupError }[] }> {
    const wanted = record.points.filter((entry) => (upTo === undefined || entry.point <= upTo) && isWanted(entry));
    const manifests: Manifest[] = [];
    const lost: { point: PointId; error: BackupError }[] = [];
    const read = (entry: RecordPoint): Promise<Manifest | BackupError> =>
      this.manifest(entry).catch((error: unknown) => {
        if (isBackupError(error, 'VaultObjectMissing', 'DocumentCorrupt')) return error;
        throw error;
      });
    for await (const { item, result } of inOrder(wanted, READS_IN_FLIGHT, read)) {
      if (result instanceof BackupError) lost.push({ point: item.point, error: result });
      else manifests.push(result);
    }
    return { manifests, lost };
  }

  /** The manifests of the record's points, oldest first; with `upTo`, those up to that point. */
  async manifests(record: ChainRecord, upTo?: PointId): Promise<Manifest[]> {
    const wanted = record.points.filter(({ point }) => upTo === undefined || point <= upTo);
    const manifests: Manifest[] = [];
    for await (const { result } of inOrder(wanted, READS_IN_FLIGHT, (entry) => this.manifest(entry)))
      manifests.push(result);
    return manifests;
  }

  /** A part that a manifest names. @throws BackupError VaultObjectMissing, DocumentCorrupt */
  async part({ name, sha256 }: Pick<PartRef, 'name' | 'sha256'>): Promise<ManifestPart> {
    try {
      return decodeDocument(name, await this.#container.readWhole(name), manifestPart, sha256);
    } catch (error) {
      if (!isBackupError(error, 'BlobNotFound')) throw error;
      throw new BackupError('VaultObjectMissing', `part ${name} of a manifest is gone`, { cause: error, target: name });
    }
  }

  /** Stores a manifest; answers how a record names it. A twin of the same attempt may have stored it: the first one stands. */
  async putManifest(value: Manifest): Promise<RecordPoint> {
    const name = manifestName(this.item, value.point, value.attempt);
    const { sha256 } = await this.#putOnce(name, value, manifest);
    return { point: value.point, manifest: name, sha256 };
  }

  /** Stores a part of the manifest of `attempt`, as `putManifest` does; `regions` are at least one. Answers how the manifest names it. */
  async putPart(
    attempt: AttemptId,
    { point, disk }: Pick<ManifestPart, 'point' | 'disk'>,
    regions: ManifestRegion[],
  ): Promise<PartRef> {
    const [first, last] = [regions[0]!.region, regions.at(-1)!.region];
    const name = manifestPartName(this.item, point, attempt, disk, first);
    const value: ManifestPart = { format: 3, item: this.item, point, disk, regions };
    const { sha256, bytes } = await this.#putOnce(name, value, manifestPart);
    return { name, sha256, bytes, first, last, regions: regions.length, ...sumOfLayers(regions) };
  }

  async #putOnce<T extends object>(
    name: string,
    value: T,
    schema: z.ZodType<T>,
  ): Promise<{ sha256: string; bytes: number }> {
    let bytes = encodeDocument(name, value);
    try {
      await this.#container.put(name, bytes);
    } catch (error) {
      if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
      bytes = await this.#container.readWhole(name);
      decodeDocument(name, bytes, schema);
    }
    return { sha256: documentDigest(bytes), bytes: bytes.length };
  }

  async #create(record: ChainRecord): Promise<void> {
    const name = recordName(this.item, record.seq);
    await this.#container.put(name, encodeDocument(name, record));
  }

  async #read(seq: number): Promise<ChainRecord> {
    const name = recordName(this.item, seq);
    return decodeDocument(name, await this.#container.readWhole(name), chainRecord);
  }
}
