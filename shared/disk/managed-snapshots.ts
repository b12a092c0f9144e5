import { randomBytes } from 'node:crypto';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { ByteRange } from '../domain/units.ts';
import type { ChangedRange, DiskSnapshot, DiskSnapshots, TaggedSnapshot } from './disk-snapshots.ts';
import { isAbsent, managedClient, type ManagedAccess } from './managed-client.ts';
import { diskResource, managedDiskPlace, type ManagedResource, snapshotResource } from './managed-ids.ts';
import { managedProbe } from './managed-probe.ts';
import { managedSnapshotIdOf, snapshotListings } from './managed-listing.ts';
import { toResourceTags } from './managed-tags.ts';
import { answerOf } from '../azure/storage-failures.ts';
import { asked } from './page-blob-failures.ts';
import { beyondEnd, eachPiece, goingOn, piecesOf, READ_BYTES, roomFor } from './page-blob-pieces.ts';
import { assertSectors, listedRanges } from './page-blob-ranges.ts';
import type { TryWatch } from '../azure/observed-tries.ts';
import { type SasBlobsOptions, sasBlobsByDisk } from './sas-blob.ts';
import { sasGrants, type SasGrantsOptions } from './sas-grants.ts';

export interface ManagedSnapshotsOptions extends ManagedAccess {
  /** The resource group that snapshots are put in, in the disk's subscription. Default: the disk's own. */
  readonly resourceGroup?: string | undefined;
  readonly grants?: SasGrantsOptions;
  readonly blobs?: SasBlobsOptions;
  /** Is told of each try of each request for a disk's bytes, and may hold it back. */
  readonly tries?: TryWatch;
  /** Requests of one `read` in flight at once. Default 4. */
  readonly readConcurrency?: number;
}

/**
 * Two snapshots of a disk that was resized across this cannot be compared:
 * https://learn.microsoft.com/azure/virtual-machines/disks-incremental-snapshots#restrictions
 */
const COMPARABLE_UNTIL_BYTES = 4 * 1024 ** 4;

/** What never changes of a snapshot. Only those of one family, which a disk's incremental snapshots are, can be compared. */
interface Known {
  readonly sizeBytes: number;
  readonly family: string;
}

/** Snapshots that are remembered. */
const MOST_KNOWN = 1_000;

/** Snapshots of managed disks: incremental snapshots, resources of their own, read by SAS. */
export function managedSnapshots(options: ManagedSnapshotsOptions): DiskSnapshots {
  const client = managedClient(options);
  const blobsOf = sasBlobsByDisk(options.blobs, options.tries);
  const readConcurrency = options.readConcurrency ?? 4;
  const grants = sasGrants(
    {
      open: (id, seconds) =>
        client.grant('snapshot', snapshotResource(id), 'Read', seconds, (failure, cause) => {
          if (isAbsent(failure)) return gone(id, cause);
          if (failure.status !== 409) return undefined;
          const message = `snapshot ${id} cannot be opened now: Compute answered ${answerOf(failure)}`;
          return new BackupError('SnapshotAccessLimit', message, { cause, target: id });
        }),
      close: (id) => client.revoke('snapshot', snapshotResource(id)),
    },
    options.grants,
  );
  const known = new Map<string, Known>();
  const listings = snapshotListings(client, options.grants?.now ?? (() => performance.now()));

  const groupOf = ({ resourceGroup }: ManagedResource): string => options.resourceGroup ?? resourceGroup;

  async function look({ id }: DiskSnapshot): Promise<Known | undefined> {
    const found = await client.snapshot(snapshotResource(id));
    if (found === undefined) return undefined;
    const { diskSizeBytes, incrementalSnapshotFamilyId, creationData } = found;
    const family = incrementalSnapshotFamilyId ?? creationData?.sourceUniqueId;
    if (diskSizeBytes === undefined || family === undefined) {
      throw new BackupError('ComputeUnavailable', `Compute described snapshot ${id} without its size or family`);
    }
    if (known.size >= MOST_KNOWN) known.clear();
    const seen = { sizeBytes: diskSizeBytes, family };
    known.set(id, seen);
    return seen;
  }

  /** What is known of a snapshot that has to be there. */
  async function living(snapshot: DiskSnapshot): Promise<Known> {
    const found = known.get(snapshot.id) ?? (await look(snapshot));
    if (found === undefined) throw gone(snapshot.id);
    return found;
  }

  /** Runs requests to the bytes of snapshots of one disk, all of which have to be there. */
  const opened = <T>(ids: readonly string[], url: string, work: (urls: readonly string[]) => Promise<T>): Promise<T> =>
    grants.use(url, ids, work);

  /** The part of `window` that is the disk's: behind it lies the VHD footer, which is not. */
  async function inside(snapshot: DiskSnapshot, window: ByteRange): Promise<ByteRange> {
    assertSectors(window);
    const { sizeBytes: size } = await living(snapshot);
    return { start: Math.min(window.start, size), end: Math.min(window.end, size) };
  }

  return {
    async describe(url) {
      const found = await client.disk(diskResource(url));
      if (found === undefined) throw unsupported(url, 'there is no such disk');
      const { id, uniqueId, diskSizeBytes, sku, hyperVGeneration } = found;
      if (id === undefined || uniqueId === undefined || diskSizeBytes === undefined) {
        throw unsupported(url, 'Compute tells neither its unique id nor its size');
      }
      return {
        url: managedDiskPlace(diskResource(id)),
        createdAt: uniqueId,
        sizeBytes: diskSizeBytes,
        managed: {
          sku: sku?.name ?? 'Standard_LRS',
          ...(hyperVGeneration === undefined ? {} : { hyperVGeneration: hyperVGeneration === 'V2' ? 'V2' : 'V1' }),
        },
      };
    },

    async take(url, tags) {
      const at = diskResource(url);
      const disk = await client.disk(at);
      if (disk === undefined) throw unsupported(url, 'there is no such disk');
      const group = groupOf(at);
      // The time is for people: what orders snapshots is Compute's own time of them.
      const stamp = new Date().toISOString().replaceAll(/[^0-9]/g, '');
      const name = `strata-${stamp}-${randomBytes(4).toString('hex')}`;
      // Whatever the answer, and if none came: it may have been taken.
      const taken = await client
        .takeSnapshot(
          { subscriptionId: at.subscriptionId, resourceGroup: group, name },
          {
            location: disk.location,
            incremental: true,
            creationData: { createOption: 'Copy', sourceResourceId: url },
            tags: toResourceTags(tags),
          },
          (failure, cause) => {
            if (failure.code === 'ResourceGroupNotFound') {
              const message = `there is no resource group ${group} for snapshots: create it, or name another in STRATA_SNAPSHOT_GROUP`;
              return new BackupError('SettingInvalid', message, { cause, target: 'STRATA_SNAPSHOT_GROUP' });
            }
            return isAbsent(failure) ? unsupported(url, 'there is no such disk', cause) : undefined;
          },
        )
        .finally(() => listings.forget());
      const id = managedSnapshotIdOf(taken);
      if (id === undefined || taken.timeCreated === undefined) {
        throw new BackupError('ComputeUnavailable', `snapshot ${name} was taken, but Compute did not say when`);
      }
      return { url: managedDiskPlace(at), id, takenAtMs: taken.timeCreated.getTime() };
    },

    async *list(url, look): AsyncGenerator<TaggedSnapshot> {
      const at = diskResource(url);
      yield* (await listings.of(at.subscriptionId, groupOf(at), look)).get(managedDiskPlace(at)) ?? [];
    },

    sizeOf: async (snapshot) => (await look(snapshot))?.sizeBytes,

    async remove({ url, id }) {
      const at = snapshotResource(id);
      try {
        await client.deleteSnapshot(at, ({ status }, cause) =>
          status === 409
            ? new BackupError('SnapshotAccessLimit', `snapshot ${id} is being read`, { cause })
            : undefined,
        );
      } catch (error) {
        if (!isBackupError(error, 'SnapshotAccessLimit')) throw error;
        // Readers are told that it is gone.
        await grants.end(url, id);
        await client.deleteSnapshot(at, () => undefined);
      }
      known.delete(id);
      listings.forget();
    },

    async *allocated(snapshot, window): AsyncGenerator<ByteRange> {
      const clipped = await inside(snapshot, window);
      if (clipped.start >= clipped.end) return;
      const nextPage = (token: string | undefined) =>
        opened([snapshot.id], snapshot.url, ([url]) =>
          asked(
            `list the page ranges of ${shown(snapshot)}`,
            () => blobsOf(snapshot.url).listed(url!, clipped, token),
            vanished(snapshot),
          ),
        );
      for await (const { start, end } of listedRanges(clipped, nextPage)) yield { start, end };
    },

    async *changed(snapshot, since, window): AsyncGenerator<ChangedRange> {
      if (since.url !== snapshot.url) throw incomparable(snapshot, since, 'they are of different disks');
      const clipped = await inside(snapshot, window);
      const now = await living(snapshot);
      const then = known.get(since.id) ?? (await look(since));
      if (then === undefined) throw incomparable(snapshot, since, 'it does not exist any more');
      if (then.family !== now.family) throw incomparable(snapshot, since, 'they are of different families');
      if (then.sizeBytes <= COMPARABLE_UNTIL_BYTES !== now.sizeBytes <= COMPARABLE_UNTIL_BYTES) {
        const sizes = `from ${then.sizeBytes} to ${now.sizeBytes} bytes`;
        throw incomparable(snapshot, since, `the disk was resized across 4 TiB, ${sizes}`);
      }
      if (since.id > snapshot.id) throw incomparable(snapshot, since, 'it is newer');
      if (clipped.start >= clipped.end) return;
      const nextPage = async (token: string | undefined) => {
        try {
          return await opened([snapshot.id, since.id], snapshot.url, ([url, previousUrl]) =>
            asked(
              `compare ${shown(snapshot)} with ${since.id}`,
              () => blobsOf(snapshot.url).compared(url!, previousUrl!, clipped, token),
              (failure, cause) => {
                const { status } = failure;
                if (status === 404 && !failure.code.startsWith('Previous')) return gone(snapshot.id, cause);
                return incomparable(snapshot, since, `the storage answered ${answerOf(failure)}`, cause);
              },
            ),
          );
        } catch (error) {
          if (!isBackupError(error, 'UserErrorInstantRpNotFound') || error.target !== since.id) throw error;
          throw incomparable(snapshot, since, 'it does not exist any more', error);
        }
      };
      yield* listedRanges(clipped, nextPage);
    },

    async read(snapshot, range, into) {
      if (range.end > (await living(snapshot)).sizeBytes) throw beyondEnd(snapshot.url, range);
      const bytes = roomFor(range, into);
      await eachPiece(piecesOf(range, READ_BYTES), readConcurrency, ({ start, end }) =>
        opened([snapshot.id], snapshot.url, ([url]) =>
          asked(
            `read ${shown(snapshot)}`,
            () => blobsOf(snapshot.url).readInto(url!, start, bytes.subarray(start - range.start, end - range.start)),
            vanished(snapshot),
          ),
        ),
      );
      return bytes;
    },

    async readLong(snapshot, range, take) {
      if (range.end > (await living(snapshot)).sizeBytes) throw beyondEnd(snapshot.url, range);
      await goingOn(range, take, (left, counted) =>
        opened([snapshot.id], snapshot.url, ([url]) =>
          asked(
            `read ${shown(snapshot)}`,
            () => blobsOf(snapshot.url).readThrough(url!, left(), counted),
            vanished(snapshot),
          ),
        ),
      );
    },

    probeChangeTracking: managedProbe({
      now: options.grants?.now ?? (() => performance.now()),
      open: (snapshot, work) => opened([snapshot.id], snapshot.url, ([url]) => work(url!)),
      blobsOf: ({ url }) => blobsOf(url),
      sizeOf: async (snapshot) => (await living(snapshot)).sizeBytes,
    }),
  };
}

/** A snapshot in messages. */
function shown({ url, id }: DiskSnapshot): string {
  return `snapshot ${id} of ${url}`;
}

function vanished({
  id,
}: DiskSnapshot): (failure: { status: number | undefined }, cause: unknown) => BackupError | undefined {
  return ({ status }, cause) => (status === 404 ? gone(id, cause) : undefined);
}

/** `target` is the snapshot's id. */
function gone(id: string, cause?: unknown): BackupError {
  return new BackupError('UserErrorInstantRpNotFound', `snapshot ${id} does not exist any more`, { cause, target: id });
}

function incomparable(snapshot: DiskSnapshot, since: DiskSnapshot, reason: string, cause?: unknown): BackupError {
  const message = `${shown(snapshot)} cannot be compared with ${since.id}: ${reason}`;
  return new BackupError('ChangeTrackingUnusable', message, { cause, target: snapshot.url });
}

function unsupported(url: string, found: string, cause?: unknown): BackupError {
  const message = `${url} cannot be used as a disk: expected a managed disk, but ${found}`;
  return new BackupError('UserErrorUnsupportedDisk', message, { cause, target: url });
}
