/**
 * Disks being restored, as managed disks: made to be uploaded to, written by a SAS, and closed.
 *
 * Compute itself knows whether such a disk is finished: it is ReadyToUpload or ActiveUpload, and can be attached to nothing, until
 * the access to it ends while it is a whole VHD. So the VHD footer is what `complete` writes, last of all, and then it ends the
 * access. From there on nobody writes: Compute gives no SAS for writing to a disk whose upload has ended. The tag
 * `strata_incomplete=<jobId>` says whose the disk is; it comes off when the upload has ended. A `create` that comes late may
 * put the tag on again, but it goes by the state, and takes the tag off.
 *
 * `complete` and `discard` of one job never meet: the outcome on the job's row is set first, and says which of the two it is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Disk } from '@azure/arm-compute';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { ByteRange } from '../domain/units.ts';
import { fixedFooter, FOOTER_BYTES } from '../domain/vhd-footer.ts';
import { managedClient, type ManagedAccess } from './managed-client.ts';
import { diskResource } from './managed-ids.ts';
import { asked } from './page-blob-failures.ts';
import { beyondEnd, eachPiece, piecesOf, READ_BYTES, roomFor, WRITE_BYTES } from './page-blob-pieces.ts';
import { assertSectors, listedRanges } from './page-blob-ranges.ts';
import type { RestoreTarget, RestoreTargets } from './restore-targets.ts';
import type { TryWatch } from '../azure/observed-tries.ts';
import { type SasBlobsOptions, sasBlobsByDisk } from './sas-blob.ts';
import { sasGrants } from './sas-grants.ts';

export interface ManagedTargetsOptions extends ManagedAccess {
  readonly blobs?: SasBlobsOptions;
  /** Is told of each try of each request for a disk's bytes, and may hold it back. */
  readonly tries?: TryWatch;
  /** Requests of one `write` or `readBack` in flight at once. Default 4. */
  readonly concurrency?: number;
  /** How long access to an upload is asked for at a time; what a crash leaves open ends so. Default 3,600. */
  readonly uploadSeconds?: number;
  /** Milliseconds of a clock that only goes forward. Default `performance.now`. */
  readonly now?: () => number;
}

/** The tag of a target that is not finished; its value is the job's id. */
const INCOMPLETE = 'strata_incomplete';

/** The mark's value when the target is being taken away. */
const discarded = (jobId: string): string => `${jobId} discarded`;

/** Looks at a target that others are changing before somebody else is told to come back later. */
const LOOKS = 8;

/** The same at a disk that is being made: half a minute in all. */
const LOOKS_AT_CREATION = 60;
const LOOK_MS = 500;

/** Answers to a creation, besides those of status 400, that only a person can change. */
const NEVER = ['ResourceGroupNotFound', 'SubscriptionNotFound', 'ScopeLocked', 'QuotaExceeded'];

export type ManagedTargets = Omit<RestoreTargets, 'putText'>;

export function managedTargets(options: ManagedTargetsOptions): ManagedTargets {
  const client = managedClient(options);
  const blobsOf = sasBlobsByDisk(options.blobs, options.tries);
  // Compute opens an upload once; reading back shares the SAS, but no client, no pipeline and no connection with writing.
  const readersOf = sasBlobsByDisk(options.blobs, options.tries);
  const concurrency = options.concurrency ?? 4;
  const clock = options.now === undefined ? {} : { now: options.now };
  const sizes = new Map<string, number>();

  /** The upload's SAS, until `end`: ending it sooner would end the upload. */
  const uploads = sasGrants(
    {
      async open(url, seconds) {
        const seen = await client.disk(diskResource(url));
        if (seen === undefined) throw absent(url);
        sizes.set(url, sizeOf(seen));
        if (!isUploading(seen)) throw handedOver(url);
        try {
          return await client.grant('disk', diskResource(url), 'Write', seconds, ({ status }, cause) => {
            if (status === 404) return absent(url, cause);
            return status === 409 ? handedOver(url, cause) : undefined;
          });
        } catch (error) {
          const now = isBackupError(error, 'ResourceIsLeased') ? await client.disk(diskResource(url)) : undefined;
          if (now === undefined || !isUploading(now)) throw error;
          // The upload goes on; Compute does not open it twice, or not now.
          const message = `upload to ${url} cannot be opened now, though it goes on`;
          throw new BackupError('SnapshotAccessLimit', message, { cause: error, target: url });
        }
      },
      close: (url) => client.revoke('disk', diskResource(url)),
    },
    { seconds: options.uploadSeconds ?? 3_600, lingerMs: Infinity, ...clock },
  );
  /** Reading a disk that is finished, for as long as one request: while it is open the disk cannot be attached. */
  const finished = sasGrants(
    {
      open: (url, seconds) =>
        client.grant('disk', diskResource(url), 'Read', seconds, ({ status }, cause) =>
          status === 404 ? absent(url, cause) : undefined,
        ),
      close: (url) => client.revoke('disk', diskResource(url)),
    },
    { seconds: 300, lingerMs: 0, ...clock },
  );

  async function reading<T>(url: string, work: (sas: string) => Promise<T>): Promise<T> {
    try {
      return await uploads.use(url, [url], ([sas]) => work(sas!));
    } catch (error) {
      if (!isBackupError(error, 'ResourceIsLeased')) throw error;
      return finished.use(url, [url], ([sas]) => work(sas!));
    }
  }

  async function write({ url }: RestoreTarget, offset: number, body: Uint8Array): Promise<void> {
    await eachPiece(piecesOf({ start: 0, end: body.byteLength }, WRITE_BYTES), concurrency, ({ start, end }) =>
      uploads.use(url, [url], ([sas]) =>
        asked(
          `write to ${url}`,
          () => blobsOf(url).write(sas!, offset + start, body.subarray(start, end)),
          ({ status }, cause) => (status === 404 ? absent(url, cause) : undefined),
        ),
      ),
    );
  }

  /** Takes the mark off a disk whose upload has ended. */
  async function unmark(url: string, { tags = {} }: Disk): Promise<void> {
    const { [INCOMPLETE]: mark, ...kept } = tags;
    if (mark === undefined) return;
    await client.tagDisk(diskResource(url), kept, ({ status }, cause) =>
      status === 404 ? absent(url, cause) : undefined,
    );
  }

  /**
   * Ends an upload that is to be discarded and that Compute will not delete. It complains when access to an upload ends that has no footer,
   * and nowhere is it said that the access has ended then (people have seen disks that stayed in `ActiveUpload`). So it gets one. Before that
   * the mark says that nobody may take it for finished.
   */
  async function endForGood(url: string, seen: Disk, jobId: string): Promise<void> {
    if (!isUploading(seen)) return;
    try {
      await client.tagDisk(diskResource(url), { ...seen.tags, [INCOMPLETE]: discarded(jobId) }, () => undefined);
      if ((await client.disk(diskResource(url)))?.uniqueId !== seen.uniqueId) return;
      const sizeBytes = sizeOf(seen);
      await write({ url, leaseId: '' }, sizeBytes, fixedFooter(sizeBytes, 0));
      await uploads.end(url, url);
    } catch (error) {
      if (!isBackupError(error, 'ResourceIsLeased', 'BlobNotFound', 'SnapshotAccessLimit')) throw error;
    }
  }

  return {
    async create({ url }, sizeBytes, jobId, form) {
      assertSectors({ start: 0, end: sizeBytes });
      const at = diskResource(url);
      if (form === undefined) throw new TypeError(`managed disk ${url} cannot be made without a location`);
      for (let look = 0; look < LOOKS_AT_CREATION; look++) {
        if (look > 1) await sleep(LOOK_MS);
        const seen = await client.disk(at);
        if (seen?.provisioningState === 'Creating') continue;
        if (seen !== undefined && seen.provisioningState !== 'Failed') {
          if (!isUploading(seen) && seen.tags?.[INCOMPLETE] === jobId && sizeOf(seen) === sizeBytes) {
            // A twin has finished it, and this run may have put the mark on again.
            await unmark(url, seen);
          }
          return assertOurs(url, seen, sizeBytes, jobId);
        }
        if (seen !== undefined && seen.tags?.[INCOMPLETE] !== jobId) assertOurs(url, seen, sizeBytes, jobId);
        try {
          await client.createDisk(at, uploadOf(form, sizeBytes, jobId), ({ status, code }, cause) => {
            if (status !== 400 && !NEVER.includes(code)) {
              if (status !== 409) return undefined;
              return new BackupError('ResourceIsLeased', `a twin is making ${url}`, { cause });
            }
            const said = cause instanceof Error ? cause.message : code;
            const message = `cannot restore to managed disk ${url}: Compute answered ${status} ${said}`;
            return new BackupError('UserErrorInvalidRestoreRequest', message, { cause, target: url });
          });
        } catch (error) {
          if (!isBackupError(error, 'ResourceIsLeased')) throw error;
        }
      }
      throw new BackupError('ResourceIsLeased', `managed disk ${url} does not come into being`, { target: url });
    },

    async write(target, offset, body) {
      assertSectors({ start: offset, end: offset + body.byteLength });
      await write(target, offset, body);
    },

    async *allocated({ url }, window): AsyncGenerator<ByteRange> {
      assertSectors(window);
      // The listing knows the size only once it is open.
      const clip = { start: window.start, end: window.end };
      const nextPage = (token: string | undefined) =>
        reading(url, (sas) => {
          clip.end = Math.min(window.end, sizes.get(url) ?? window.end);
          if (clip.start >= clip.end) return Promise.resolve(undefined);
          return asked(
            `list the page ranges of ${url}`,
            () => readersOf(url).listed(sas, clip, token),
            ({ status }, cause) => (status === 404 ? absent(url, cause) : undefined),
          );
        });
      for await (const { start, end } of listedRanges(window, nextPage)) {
        if (start < clip.end) yield { start, end: Math.min(end, clip.end) };
      }
    },

    async readBack(url, range, into) {
      const bytes = roomFor(range, into);
      await eachPiece(piecesOf(range, READ_BYTES), concurrency, ({ start, end }) =>
        reading(url, async (sas) => {
          if (end > (sizes.get(url) ?? end)) throw beyondEnd(url, range);
          await asked(
            `read ${url}`,
            () => readersOf(url).readInto(sas, start, bytes.subarray(start - range.start, end - range.start)),
            ({ status }, cause) => (status === 404 ? absent(url, cause) : undefined),
          );
        }),
      );
      return bytes;
    },

    async complete(target) {
      const { url, leaseId } = target;
      for (let look = 0; look < LOOKS; look++) {
        const seen = await client.disk(diskResource(url));
        if (seen === undefined) throw absent(url);
        if (!isUploading(seen)) return unmark(url, seen);
        const sizeBytes = sizeOf(seen);
        try {
          await write(target, sizeBytes, fixedFooter(sizeBytes, seen.timeCreated?.getTime() ?? 0, leaseId));
        } catch (error) {
          if (isBackupError(error, 'ResourceIsLeased')) continue; // a twin has ended the upload since the look
          throw error;
        }
        await uploads.end(url, url);
      }
      throw new BackupError('ResourceIsLeased', `the upload to managed disk ${url} does not end`, { target: url });
    },

    async discard({ url }, jobId) {
      let first: Disk | undefined;
      for (let look = 0; look < LOOKS; look++) {
        const seen = await client.disk(diskResource(url));
        const mark = seen?.tags?.[INCOMPLETE];
        if (seen === undefined || (mark !== jobId && mark !== discarded(jobId))) return;
        first ??= seen;
        // A twin has taken it away, another job has made one of the same name, and this run has put its mark there.
        if (seen.uniqueId !== first.uniqueId) return unmark(url, seen);
        await uploads.end(url, url);
        try {
          return await client.deleteDisk(diskResource(url), ({ status }, cause) =>
            status === 409
              ? new BackupError('ResourceIsLeased', `managed disk ${url} is in use`, { cause })
              : undefined,
          );
        } catch (error) {
          // A late writer has opened it again; or it does not end because it is no whole VHD.
          if (!isBackupError(error, 'ResourceIsLeased')) throw error;
          await endForGood(url, seen, jobId);
        }
      }
      throw new BackupError('ResourceIsLeased', `managed disk ${url} is in use, or keeps changing`, { target: url });
    },
  };
}

/** The body that makes a disk to upload to: the disk and the footer of its VHD. */
function uploadOf(form: NonNullable<Parameters<RestoreTargets['create']>[3]>, sizeBytes: number, jobId: string): Disk {
  const { location, osType, hyperVGeneration, sku } = form;
  return {
    location,
    creationData: { createOption: 'Upload', uploadSizeBytes: sizeBytes + FOOTER_BYTES },
    tags: { [INCOMPLETE]: jobId },
    ...(sku === undefined ? {} : { sku: { name: sku } }),
    ...(osType === undefined ? {} : { osType }),
    ...(hyperVGeneration === undefined ? {} : { hyperVGeneration }),
  };
}

/** Whether the disk still waits for its bytes: Compute's own word. */
function isUploading({ diskState }: Disk): boolean {
  return diskState === 'ReadyToUpload' || diskState === 'ActiveUpload';
}

/** Without footer. */
function sizeOf({ creationData, diskSizeBytes }: Disk): number {
  const uploaded = creationData?.uploadSizeBytes;
  return uploaded === undefined ? (diskSizeBytes ?? 0) : uploaded - FOOTER_BYTES;
}

function assertOurs(url: string, seen: Disk, sizeBytes: number, jobId: string): void {
  const mark = seen.tags?.[INCOMPLETE];
  const found = !isUploading(seen)
    ? 'a disk of that name is there already'
    : mark !== jobId
      ? `restore job ${mark ?? 'of somebody else'} is writing it`
      : sizeOf(seen) !== sizeBytes
        ? `this job began it with ${sizeOf(seen)} bytes, not ${sizeBytes}`
        : undefined;
  if (found === undefined) return;
  throw new BackupError('UserErrorRestoreTargetExists', `cannot restore to ${url}: ${found}`, { target: url });
}

function handedOver(url: string, cause?: unknown): BackupError {
  const message = `cannot change restore target ${url}: its upload has ended`;
  return new BackupError('ResourceIsLeased', message, { cause, target: url });
}

function absent(url: string, cause?: unknown): BackupError {
  return new BackupError('BlobNotFound', `restore target ${url} does not exist`, { cause, target: url });
}
