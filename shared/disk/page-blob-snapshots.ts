import { BackupError } from '../domain/errors.ts';
import type { ByteRange } from '../domain/units.ts';
import type { ChangedRange, DiskSnapshot, DiskSnapshots, TaggedSnapshot } from './disk-snapshots.ts';
import { blobName, pageBlobClients, unsupported, type PageBlobAccess } from './page-blob-clients.ts';
import { answerOf, storageFailure } from '../azure/storage-failures.ts';
import { asked } from './page-blob-failures.ts';
import {
  beyondEnd,
  eachPiece,
  goingOn,
  LEAST_BYTES_PER_MS,
  partOf,
  piecesOf,
  READ_BYTES,
  readInto,
  readThrough,
  roomFor,
} from './page-blob-pieces.ts';
import { changeTrackingProbe } from './page-blob-probe.ts';
import { assertSectors, listedRanges, type ListedPage } from './page-blob-ranges.ts';

export interface PageBlobSnapshotsOptions extends PageBlobAccess {
  /** Requests of one `read` in flight at once. Default 4: one page blob's 60 MiB/s need no more. */
  readonly readConcurrency?: number;
  /** Most ranges in a page of a listing; default is the service's own, 10,000. */
  readonly rangesPerPage?: number;
  /** Milliseconds of a clock that only goes forward, for the probe's memory. Default `performance.now`. */
  readonly now?: () => number;
}

/** Snapshots of unmanaged disks: page blobs, and the snapshots that their storage account keeps of them. */
export function pageBlobSnapshots(options: PageBlobSnapshotsOptions): DiskSnapshots {
  const clients = pageBlobClients(options);
  const { deadline, tries } = clients;
  const readConcurrency = options.readConcurrency ?? 4;
  const page = options.rangesPerPage === undefined ? {} : { maxPageSize: options.rangesPerPage };
  const clientOf = (snapshot: DiskSnapshot) => clients.page(snapshot.url).withSnapshot(snapshot.id);

  const sizeOf = (snapshot: DiskSnapshot): Promise<number | undefined> =>
    asked(`look at ${shown(snapshot)}`, async () => {
      try {
        return (await clientOf(snapshot).getProperties({ abortSignal: deadline() })).contentLength;
      } catch (error) {
        if (storageFailure(error)?.status === 404) return undefined;
        throw error;
      }
    });

  /** Whether `error` says that a listing's window lies beyond the end of the blob. */
  const beyond = (error: unknown): boolean => storageFailure(error)?.status === 416;

  const snapshots: DiskSnapshots = {
    async describe(url) {
      const properties = await asked(
        `look at ${url}`,
        () => clients.page(url).getProperties({ abortSignal: deadline() }),
        (failure, cause) => {
          if (failure.status === 404) return unsupported(url, 'there is no such blob', cause);
          if (failure.status === 400) return unsupported(url, `the storage answered ${answerOf(failure)}`, cause);
          if (failure.code === 'ENOTFOUND') return unsupported(url, 'there is no such storage account', cause);
          return undefined;
        },
      );
      if (properties.blobType !== 'PageBlob') throw unsupported(url, `a ${properties.blobType} was found`);
      const { createdOn, contentLength } = properties;
      if (createdOn === undefined || contentLength === undefined) {
        throw unsupported(url, 'its storage tells neither creation time nor size');
      }
      return { url, createdAt: createdOn.toISOString(), sizeBytes: contentLength };
    },

    async take(url, tags) {
      assertTags(tags);
      const taken = await asked(
        `take a snapshot of ${url}`,
        () => clients.page(url).createSnapshot({ metadata: { ...tags }, abortSignal: deadline() }),
        (failure, cause) => (failure.status === 404 ? unsupported(url, 'there is no such blob', cause) : undefined),
      );
      if (taken.snapshot === undefined) {
        throw new BackupError('InternalError', `a snapshot of ${url} was taken, but the storage did not say its time`);
      }
      return { url, id: taken.snapshot, takenAtMs: Date.parse(taken.snapshot) };
    },

    async *list(url): AsyncGenerator<TaggedSnapshot> {
      const name = blobName(url);
      const found: TaggedSnapshot[] = [];
      let token: string | undefined;
      do {
        const listing = clients
          .container(url)
          .listBlobsFlat({ prefix: name, includeSnapshots: true, includeMetadata: true, abortSignal: deadline() })
          .byPage(token === undefined ? {} : { continuationToken: token });
        const next = await asked(`list the snapshots of ${url}`, async () => {
          try {
            return await listing.next();
          } catch (error) {
            if (storageFailure(error)?.code === 'ContainerNotFound') return undefined;
            throw error;
          }
        });
        if (next === undefined || next.done === true) break;
        const { blobItems } = next.value.segment;
        for (const item of blobItems) {
          if (item.name === name && item.snapshot) found.push({ url, id: item.snapshot, tags: { ...item.metadata } });
        }
        // Names that merely begin with this one come after it: disk.vhd.bak after disk.vhd.
        const passed = blobItems.some((item) => item.name !== name);
        token = passed ? undefined : next.value.continuationToken;
      } while (token !== undefined && token !== '');
      yield* found.sort((a, b) => (a.id < b.id ? -1 : 1));
    },

    sizeOf,

    async remove(snapshot) {
      await asked(`delete ${shown(snapshot)}`, async () => {
        try {
          await clientOf(snapshot).delete({ abortSignal: deadline() });
        } catch (error) {
          if (storageFailure(error)?.status !== 404) throw error;
        }
      });
    },

    async *allocated(snapshot, window): AsyncGenerator<ByteRange> {
      assertSectors(window);
      const client = clientOf(snapshot);
      const nextPage = (continuationToken: string | undefined): Promise<ListedPage | undefined> =>
        asked(
          `list the page ranges of ${shown(snapshot)}`,
          async () => {
            try {
              const listing = client
                .listPageRanges(window.start, window.end - window.start, { abortSignal: deadline() })
                .byPage({ ...page, ...(continuationToken === undefined ? {} : { continuationToken }) });
              return (await listing.next()).value;
            } catch (error) {
              if (beyond(error)) return undefined;
              throw error;
            }
          },
          ({ status }, cause) => (status === 404 ? gone(snapshot, cause) : undefined),
        );
      if (window.start === window.end) return;
      for await (const { start, end } of listedRanges(window, nextPage)) yield { start, end };
    },

    async *changed(snapshot, since, window): AsyncGenerator<ChangedRange> {
      assertSectors(window);
      if (since.url !== snapshot.url) throw incomparable(snapshot, since, 'they are of different disks');
      const client = clientOf(snapshot);
      const nextPage = (continuationToken: string | undefined): Promise<ListedPage | undefined> =>
        asked(
          `compare ${shown(snapshot)} with ${since.id}`,
          async () => {
            try {
              const listing = client
                .listPageRangesDiff(window.start, window.end - window.start, since.id, { abortSignal: deadline() })
                .byPage({ ...page, ...(continuationToken === undefined ? {} : { continuationToken }) });
              return (await listing.next()).value;
            } catch (error) {
              if (beyond(error)) return undefined;
              throw error;
            }
          },
          async (failure, cause) => {
            if (failure.status === 401 || failure.status === 403) return undefined;
            // Which of the two is missing is not always told by the code.
            const vague = failure.status === 404 || !/PreviousSnapshot|BlobOverwritten/.test(failure.code);
            if (vague && (await sizeOf(snapshot)) === undefined) return gone(snapshot, cause);
            return incomparable(snapshot, since, `the storage answered ${answerOf(failure)}`, cause);
          },
        );
      if (window.start === window.end) return;
      yield* listedRanges(window, nextPage);
    },

    async read(snapshot, range, into) {
      const client = clientOf(snapshot);
      const bytes = roomFor(range, into);
      await eachPiece(piecesOf(range, READ_BYTES), readConcurrency, (piece) =>
        asked(
          `read ${shown(snapshot)}`,
          async () => {
            try {
              await readInto(client, piece.start, partOf(bytes, range, piece), deadline(), tries);
            } catch (error) {
              throw beyond(error) ? beyondEnd(snapshot.url, range) : error;
            }
          },
          ({ status }, cause) => (status === 404 ? gone(snapshot, cause) : undefined),
        ),
      );
      return bytes;
    },

    readLong: (snapshot, range, take) =>
      goingOn(range, take, (left, counted) =>
        asked(
          `read ${shown(snapshot)}`,
          async () => {
            const allowed = deadline(Math.ceil((range.end - range.start) / LEAST_BYTES_PER_MS));
            try {
              await readThrough(clientOf(snapshot), left(), counted, allowed);
            } catch (error) {
              throw beyond(error) ? beyondEnd(snapshot.url, range) : error;
            }
          },
          ({ status }, cause) => (status === 404 ? gone(snapshot, cause) : undefined),
        ),
      ),

    probeChangeTracking: changeTrackingProbe(clients, sizeOf, options.now ?? (() => performance.now())),
  };
  return snapshots;
}

/** A snapshot in messages. */
function shown({ url, id }: DiskSnapshot): string {
  return `snapshot ${id} of ${url}`;
}

function gone(snapshot: DiskSnapshot, cause?: unknown): BackupError {
  const message = `${shown(snapshot)} does not exist any more`;
  return new BackupError('UserErrorInstantRpNotFound', message, { cause, target: snapshot.url });
}

function incomparable(snapshot: DiskSnapshot, since: DiskSnapshot, reason: string, cause?: unknown): BackupError {
  const message = `${shown(snapshot)} cannot be compared with that of ${since.id}: ${reason}`;
  return new BackupError('ChangeTrackingUnusable', message, { cause, target: snapshot.url });
}

/** Headers carry the tags, so that what is no plain text would be lost, trimmed or refused by one server and not another. */
function assertTags(tags: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(tags)) {
    if (!/^[a-z_]+$/.test(key) || !/^[!-~]([ -~]*[!-~])?$/.test(value)) {
      throw new TypeError(
        `tag ${key}='${value}': keys are lower-case letters, values printable ASCII without outer spaces`,
      );
    }
  }
}
