import type { SparseBytes } from './sparse-bytes.ts';

/** A blob of the provider: a disk, or a text. */
export interface MemoryBlob {
  readonly createdAtMs: number;
  /** Tells a blob from the one that it replaced under the same name. */
  readonly generation: number;
  metadata: Record<string, string>;
  leaseId: string | undefined;
  sizeBytes: number;
  readonly bytes: SparseBytes;
  /** Defined where the blob is no page blob. */
  readonly text: string | undefined;
}

/** What snapshots and targets share. */
export interface MemoryStore {
  readonly blobs: Map<string, MemoryBlob>;
  replace(url: string, blob: Partial<MemoryBlob> & { sizeBytes: number }): MemoryBlob;
  write(blob: MemoryBlob, offset: number, body: Uint8Array): void;
  /** Deletes the blob with its snapshots. */
  delete(url: string): void;
}
