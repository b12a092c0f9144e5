import type { ByteRange } from '../../shared/domain/units.ts';

/** Stands for everybody but Strata who handles disks: the VM that writes one, its administrator, a stranger. */
export interface DiskOwner {
  /** A URL that was not given before, in a container of its own that does not exist yet; `name` is put in as it is. */
  newUrl(name?: string): string;
  /** Makes an empty disk, and its container where absent. One of that name is replaced; its snapshots stay. */
  create(url: string, sizeBytes: number, metadata?: Readonly<Record<string, string>>): Promise<void>;
  write(url: string, offset: number, body: Uint8Array): Promise<void>;
  clear(url: string, range: ByteRange): Promise<void>;
  resize(url: string, sizeBytes: number): Promise<void>;
  /** Deletes the disk with its snapshots, whoever holds a lease. */
  delete(url: string): Promise<void>;
  /** Puts a blob there that is no disk. */
  putText(url: string, text: string): Promise<void>;
  /** The text put at `url`. */
  text(url: string): Promise<string>;
  /** The metadata of the blob, or undefined when there is none. */
  metadata(url: string): Promise<Record<string, string> | undefined>;
  /** Replaces the metadata of a blob whose lease is `leaseId`. */
  setMetadata(url: string, metadata: Readonly<Record<string, string>>, leaseId: string): Promise<void>;
  /** Ends whatever lease is on the blob, by force. */
  breakLease(url: string): Promise<void>;
  /** Takes an infinite lease of that id on the blob. */
  lease(url: string, leaseId: string): Promise<void>;
  isLeased(url: string): Promise<boolean>;
}
