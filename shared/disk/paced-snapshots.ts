import { isBackupError } from '../domain/errors.ts';
import type { DiskSnapshots } from './disk-snapshots.ts';
import { isManagedDisk } from './managed-ids.ts';
import { storageFailure } from '../azure/storage-failures.ts';
import { goingOn, READ_BYTES } from './page-blob-pieces.ts';
import type { SourcePace } from './source-pace.ts';

/** Most ranges in a page of a listing: each further page is a request. */
const RANGES_PER_PAGE = 10_000;
/** 429 is not tried again by the SDK, as 503 is. Requests to managed disks are, below. */
const TRIES = 5;

/**
 * `snapshots`, whose reads and listings wait for their turn at the disk. Snapshots are taken, looked for and deleted at once: the moment
 * of a point must not wait for another's bytes.
 */
export function pacedSnapshots(snapshots: DiskSnapshots, pace: SourcePace): DiskSnapshots {
  /** A listing whose pages wait for their turn; while the ranges of one are worked on, no turn is held. */
  async function* paged<T>(url: string, ranges: AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = ranges[Symbol.asyncIterator]();
    try {
      for (let count = 0; ; count++) {
        const isPage = count % RANGES_PER_PAGE === 0;
        const next = isPage ? await pace.run(url, PAGE, () => iterator.next()) : await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  return {
    ...snapshots,
    allocated: (snapshot, window) => paged(snapshot.url, snapshots.allocated(snapshot, window)),
    changed: (snapshot, since, window) => paged(snapshot.url, snapshots.changed(snapshot, since, window)),
    read(snapshot, range, into) {
      const bytes = range.end - range.start;
      const request = { requests: Math.ceil(bytes / READ_BYTES), bytes };
      return unlessRefused(snapshot.url, () =>
        pace.run(snapshot.url, request, () => snapshots.read(snapshot, range, into)),
      );
    },
    readLong: (snapshot, range, take) =>
      goingOn(range, take, (left, counted) =>
        unlessRefused(snapshot.url, () => {
          const { start, end } = left();
          return pace.run(snapshot.url, { requests: 1, bytes: end - start }, () =>
            snapshots.readLong(snapshot, { start, end }, counted),
          );
        }),
      ),
  };
}

/** Does `read` again while the storage refuses it for coming too often; managed disks' adapter does so by itself. */
async function unlessRefused<T>(url: string, read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      const isRefused = isBackupError(error, 'StorageUnavailable') && storageFailure(error.cause)?.status === 429;
      if (!isRefused || tries === TRIES || isManagedDisk(url)) throw error;
    }
  }
}

const PAGE = { requests: 1, bytes: 0 };
