/**
 * Disks being restored, as page blobs.
 *
 * Two things guard a target: its metadata says `strata_incomplete=<jobId>` from the request that creates it until the job has
 * written all of it, and an infinite lease, with an id that only the job knows, stands between its bytes and every late
 * handler. The mark is the truth about whose the blob is; the lease orders those who act on it:
 * - the lease is taken only under the ETag with which the mark was seen, so that a late `create` cannot lock a disk that has
 *   been handed over meanwhile;
 * - the mark comes off under the lease, and only then the lease ends, so that a blob without a lease of its own and with the
 *   mark was never finished;
 * - a delete needs the ETag with which the mark was seen, and the lease, so that it never hits a disk just completed.
 */
import type { BlobGetPropertiesResponse, PageBlobClient } from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import type { ByteRange } from '../domain/units.ts';
import { pageBlobClients, type PageBlobAccess } from './page-blob-clients.ts';
import { type StorageFailure, storageFailure } from '../azure/storage-failures.ts';
import { asked } from './page-blob-failures.ts';
import {
  beyondEnd,
  eachPiece,
  partOf,
  piecesOf,
  READ_BYTES,
  readInto,
  roomFor,
  WRITE_BYTES,
} from './page-blob-pieces.ts';
import { assertSectors, listedRanges, type ListedPage } from './page-blob-ranges.ts';
import type { RestoreTarget, RestoreTargets } from './restore-targets.ts';

export interface PageBlobTargetsOptions extends PageBlobAccess {
  /** Requests of one `write` or `readBack` in flight at once. Default 4: one page blob's 60 MiB/s need no more. */
  readonly concurrency?: number;
}

/** The metadata key of a target that is not finished; its value is the job's id. */
const INCOMPLETE = 'strata_incomplete';

/** Looks at a target whose state changes under our eyes before somebody else is told to come back later. */
const LOOKS = 8;

const INFINITE = -1;

export function pageBlobTargets(options: PageBlobTargetsOptions): RestoreTargets {
  const clients = pageBlobClients(options);
  // Reading back shares no client and no pipeline with writing.
  const readers = pageBlobClients(options);
  const { deadline } = clients;
  const concurrency = options.concurrency ?? 4;

  /** Undefined when the blob, or its container, is absent. */
  const lookAt = (url: string): Promise<BlobGetPropertiesResponse | undefined> =>
    asked(`look at ${url}`, async () => {
      try {
        return await clients.page(url).getProperties({ abortSignal: deadline() });
      } catch (error) {
        if (storageFailure(error)?.status === 404) return undefined;
        throw error;
      }
    });

  /** Runs a request that needs the container, which is made when the request finds it absent. */
  async function inContainer<T>(url: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (storageFailure(error)?.code !== 'ContainerNotFound') throw error;
      await clients.container(url).createIfNotExists({ abortSignal: deadline() });
      return await request();
    }
  }

  /** Creates the marked, empty blob, and answers its ETag; undefined when there is one of that name. */
  const createMarked = (client: PageBlobClient, sizeBytes: number, jobId: string): Promise<string | undefined> =>
    asked(`create ${client.url}`, async () => {
      try {
        const created = await inContainer(client.url, () =>
          client.create(sizeBytes, {
            conditions: { ifNoneMatch: '*' },
            metadata: { [INCOMPLETE]: jobId },
            abortSignal: deadline(),
          }),
        );
        return created.etag;
      } catch (error) {
        const failure = storageFailure(error);
        // 412 is a blob that exists under a lease.
        if (failure?.status === 412 || failure?.code === 'BlobAlreadyExists') return undefined;
        throw error;
      }
    });

  /** Ends the lease; one that is not held any more has ended already. */
  const release = ({ url, leaseId }: RestoreTarget): Promise<void> =>
    asked(`release the lease on ${url}`, async () => {
      try {
        await clients.page(url).getBlobLeaseClient(leaseId).releaseLease({ abortSignal: deadline() });
      } catch (error) {
        if (!isLeaseAnswer(storageFailure(error))) throw error;
      }
    });

  return {
    async create(target, sizeBytes, jobId) {
      const { url, leaseId } = target;
      assertSectors({ start: 0, end: sizeBytes });
      const client = clients.page(url);
      const lease = client.getBlobLeaseClient(leaseId);
      // Who has just created it knows what a look would tell.
      let created = await createMarked(client, sizeBytes, jobId);
      for (let look = 0; look < LOOKS; look++) {
        let seen: Pick<BlobGetPropertiesResponse, 'etag' | 'leaseState'>;
        if (created === undefined) {
          const found = await lookAt(url);
          if (found === undefined) {
            created = await createMarked(client, sizeBytes, jobId);
            continue;
          }
          assertOurs(target, found, sizeBytes, jobId);
          seen = found;
        } else seen = { etag: created };
        created = undefined;
        const leased = seen.leaseState === 'leased';
        const conditions = seen.etag === undefined ? {} : { ifMatch: seen.etag };
        const settled = await asked(`take the lease on ${url}`, async () => {
          try {
            // Acquiring again with the same id would be as good, but not after a release that came between.
            if (leased) await lease.renewLease({ abortSignal: deadline() });
            else await lease.acquireLease(INFINITE, { conditions, abortSignal: deadline() });
            return true;
          } catch (error) {
            const failure = storageFailure(error);
            if (failure?.status === 412 || failure?.status === 404 || isLeaseAnswer(failure)) return false;
            throw error;
          }
        });
        if (settled) return;
      }
      throw leaseLost(target, 'another lease is on it');
    },

    async write(target, offset, body) {
      const range = { start: offset, end: offset + body.byteLength };
      assertSectors(range);
      const client = clients.page(target.url);
      await eachPiece(piecesOf(range, WRITE_BYTES), concurrency, async ({ start, end }) => {
        await asked(
          `write to ${target.url}`,
          () =>
            client.uploadPages(body.subarray(start - offset, end - offset), start, end - start, {
              conditions: { leaseId: target.leaseId },
              abortSignal: deadline(),
            }),
          (failure, cause) => {
            if (failure.status === 404) return absent(target.url, cause);
            if (isLeaseAnswer(failure)) return leaseLost(target, 'the lease is no longer held', cause);
            return undefined;
          },
        );
      });
    },

    async *allocated({ url }, window): AsyncGenerator<ByteRange> {
      assertSectors(window);
      if (window.start === window.end) return;
      const client = clients.page(url);
      const nextPage = (continuationToken: string | undefined): Promise<ListedPage | undefined> =>
        asked(
          `list the page ranges of ${url}`,
          async () => {
            try {
              const listing = client
                .listPageRanges(window.start, window.end - window.start, { abortSignal: deadline() })
                .byPage(continuationToken === undefined ? {} : { continuationToken });
              return (await listing.next()).value;
            } catch (error) {
              if (storageFailure(error)?.status === 416) return undefined;
              throw error;
            }
          },
          ({ status }, cause) => (status === 404 ? absent(url, cause) : undefined),
        );
      for await (const { start, end } of listedRanges(window, nextPage)) yield { start, end };
    },

    async readBack(url, range, into) {
      const client = readers.blob(url);
      const bytes = roomFor(range, into);
      await eachPiece(piecesOf(range, READ_BYTES), concurrency, (piece) =>
        asked(
          `read ${url}`,
          async () => {
            try {
              await readInto(client, piece.start, partOf(bytes, range, piece), deadline());
            } catch (error) {
              throw storageFailure(error)?.status === 416 ? beyondEnd(url, range) : error;
            }
          },
          ({ status }, cause) => (status === 404 ? absent(url, cause) : undefined),
        ),
      );
      return bytes;
    },

    async complete(target) {
      const { url, leaseId } = target;
      for (let look = 0; ; look++) {
        const seen = await lookAt(url);
        if (seen === undefined) throw absent(url);
        if (seen.metadata?.[INCOMPLETE] === undefined) return release(target);
        const { [INCOMPLETE]: _mark, ...kept } = seen.metadata;
        const done = await asked(
          `mark ${url} complete`,
          async () => {
            try {
              await clients.page(url).setMetadata(kept, { conditions: { leaseId }, abortSignal: deadline() });
              return true;
            } catch (error) {
              // A twin may have completed it since the look: then there is no lease, and no mark at the next look.
              if (isLeaseAnswer(storageFailure(error)) && look === 0) return false;
              throw error;
            }
          },
          (failure, cause) => {
            if (failure.status === 404) return absent(url, cause);
            return isLeaseAnswer(failure) ? leaseLost(target, 'the lease is no longer held', cause) : undefined;
          },
        );
        if (done) return release(target);
      }
    },

    async discard(target, jobId) {
      const { url, leaseId } = target;
      for (let look = 0; look < LOOKS; look++) {
        const seen = await lookAt(url);
        if (seen === undefined || seen.metadata?.[INCOMPLETE] !== jobId) return;
        // Without a lease, a crash came before it was taken, or somebody has broken it: the mark and the ETag are enough.
        const held = seen.leaseStatus === 'locked' ? { leaseId } : {};
        const conditions = { ...held, ...(seen.etag === undefined ? {} : { ifMatch: seen.etag }) };
        const settled = await asked(`delete ${url}`, async () => {
          try {
            await clients.page(url).delete({ conditions, deleteSnapshots: 'include', abortSignal: deadline() });
            return true;
          } catch (error) {
            const failure = storageFailure(error);
            if (failure?.status === 404) return true;
            if (failure?.status === 412 || isLeaseAnswer(failure)) return false;
            throw error;
          }
        });
        if (settled) return;
      }
      throw leaseLost(target, 'another lease is on it, or it keeps changing');
    },

    async putText(url, text) {
      const body = Buffer.from(text, 'utf8');
      const client = clients.blob(url).getBlockBlobClient();
      await asked(`write ${url}`, () =>
        inContainer(url, () =>
          client.upload(body, body.byteLength, {
            blobHTTPHeaders: { blobContentType: 'text/plain; charset=utf-8' },
            abortSignal: deadline(),
          }),
        ),
      );
    },
  };
}

/** Whether the storage's answer is about a lease: absent, lost, of another id, broken. */
function isLeaseAnswer(failure: StorageFailure | undefined): boolean {
  return (failure?.status === 412 || failure?.status === 409) && failure.code.startsWith('Lease');
}

function assertOurs({ url }: RestoreTarget, seen: BlobGetPropertiesResponse, sizeBytes: number, jobId: string): void {
  const mark = seen.metadata?.[INCOMPLETE];
  const found =
    mark === undefined
      ? 'a blob of that name is there already'
      : mark !== jobId
        ? `restore job ${mark} is writing it`
        : seen.blobType !== 'PageBlob' || seen.contentLength !== sizeBytes
          ? `this job began it with ${seen.contentLength} bytes, not ${sizeBytes}`
          : undefined;
  if (found === undefined) return;
  throw new BackupError('UserErrorRestoreTargetExists', `cannot restore to ${url}: ${found}`, { target: url });
}

function leaseLost({ url }: RestoreTarget, why: string, cause?: unknown): BackupError {
  return new BackupError('ResourceIsLeased', `cannot change restore target ${url}: ${why}`, { cause, target: url });
}

function absent(url: string, cause?: unknown): BackupError {
  return new BackupError('BlobNotFound', `restore target ${url} does not exist`, { cause, target: url });
}
