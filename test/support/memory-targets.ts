import { BackupError } from '../../shared/domain/errors.ts';
import type { ByteRange } from '../../shared/domain/units.ts';
import { assertSectors } from '../../shared/disk/page-blob-ranges.ts';
import type { RestoreTarget, RestoreTargets } from '../../shared/disk/restore-targets.ts';
import type { MemoryBlob, MemoryStore } from './memory-store.ts';
import { putInto } from './put-into.ts';

/** Performs one request on the provider, or does not, or performs it and loses the answer. */
export type PerformRequest = <T>(request: () => T) => Promise<T>;

const INCOMPLETE = 'strata_incomplete';

/** Restore targets in memory, in the same requests one after another as the adapter of page blobs makes. */
export function memoryTargets(store: MemoryStore, perform: PerformRequest): RestoreTargets {
  const { blobs } = store;

  function existing(url: string): MemoryBlob {
    const found = blobs.get(url);
    if (found === undefined)
      throw new BackupError('BlobNotFound', `restore target ${url} does not exist`, { target: url });
    return found;
  }
  function underLease({ url, leaseId }: RestoreTarget): MemoryBlob {
    const found = existing(url);
    if (found.leaseId !== leaseId) throw leaseLost(url, 'the lease is no longer held');
    return found;
  }
  const release = ({ url, leaseId }: RestoreTarget): Promise<void> =>
    perform(() => {
      const found = blobs.get(url);
      if (found?.leaseId === leaseId) found.leaseId = undefined;
    });

  return {
    async create({ url, leaseId }, sizeBytes, jobId) {
      assertSectors({ start: 0, end: sizeBytes });
      await perform(() => {
        if (!blobs.has(url)) store.replace(url, { sizeBytes, metadata: { [INCOMPLETE]: jobId } });
      });
      // The look and the lease are one: the adapter binds them by the ETag.
      await perform(() => {
        const found = existing(url);
        if (found.metadata[INCOMPLETE] !== jobId || found.text !== undefined || found.sizeBytes !== sizeBytes) {
          throw new BackupError('UserErrorRestoreTargetExists', `cannot restore to ${url}: it exists`, { target: url });
        }
        if (found.leaseId !== undefined && found.leaseId !== leaseId) throw leaseLost(url, 'another lease is on it');
        found.leaseId = leaseId;
      });
    },
    async write(target, offset, body) {
      assertSectors({ start: offset, end: offset + body.byteLength });
      await perform(() => store.write(underLease(target), offset, body));
    },
    async *allocated({ url }, window): AsyncGenerator<ByteRange> {
      assertSectors(window);
      const { bytes, sizeBytes } = await perform(() => existing(url));
      yield* bytes.allocated({ start: Math.min(window.start, sizeBytes), end: Math.min(window.end, sizeBytes) });
    },
    async readBack(url, range, into) {
      return perform(() => {
        const { bytes, sizeBytes } = existing(url);
        if (range.end > sizeBytes) throw new RangeError(`bytes ${range.start} to ${range.end} lie beyond the end`);
        return putInto(into, bytes.read(range));
      });
    },
    async complete(target) {
      const unmarked = await perform(() => existing(target.url).metadata[INCOMPLETE] === undefined);
      if (!unmarked) {
        await perform(() => {
          const found = existing(target.url);
          if (found.metadata[INCOMPLETE] === undefined) return;
          const { [INCOMPLETE]: _mark, ...kept } = underLease(target).metadata;
          found.metadata = kept;
        });
      }
      await release(target);
    },
    async discard({ url, leaseId }, jobId) {
      await perform(() => {
        const found = blobs.get(url);
        if (found?.metadata[INCOMPLETE] !== jobId) return;
        if (found.leaseId !== undefined && found.leaseId !== leaseId) throw leaseLost(url, 'another lease is on it');
        store.delete(url);
      });
    },
    async putText(url, text) {
      await perform(() => {
        store.replace(url, { sizeBytes: Buffer.byteLength(text), text });
      });
    },
  };
}

function leaseLost(url: string, why: string): BackupError {
  return new BackupError('ResourceIsLeased', `cannot change restore target ${url}: ${why}`, { target: url });
}
