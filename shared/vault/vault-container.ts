/** What a listing or a look at one blob tells. */
export interface BlobInfo {
  readonly name: string;
  readonly sizeBytes: number;
  /** The small key-value pairs that were given when the blob was put. */
  readonly summary: Readonly<Record<string, string>>;
}

/** A piece of a blob that is put together: bytes of another blob of the same container, or the caller's own. */
export type BlobPart =
  | { readonly from: string; readonly offset: number; readonly length: number }
  | { readonly bytes: Uint8Array };

/** How a blob was put together, and what the service counts of it. */
export interface Assembly {
  /** `function` when bytes of other blobs had to be fetched and sent again, because the service would not copy them itself. */
  readonly through: 'storage' | 'function';
  /** Bytes of other blobs that were fetched and sent again. */
  readonly bytesMoved: number;
  /** Requests billed as writes: a block each, and the list that makes them a blob. */
  readonly blockRequests: number;
  /** Requests billed as reads: of sources, whoever read them, and of the list of blocks. */
  readonly readRequests: number;
}

/**
 * Write-once storage for everything a vault keeps: packs, layers, manifests, plans, chain records.
 * Every implementation passes vaultContainerContract in test/contract.
 *
 * Names are case-sensitive and compared by their UTF-8 bytes. Nothing is ever overwritten. Passing trouble is retried
 * inside and ends as StorageUnavailable; an outage never looks like absence. Nor does a container that was dropped: every
 * method then throws ResourceNotFound.
 */
export interface VaultContainer {
  /**
   * Stores `body` atomically: readers see all of it or nothing. Once it has resolved, the body is the caller's to change.
   *
   * `summary` is kept beside the bytes and comes back from `stat` and `list`; keys are lower-case letters, values printable
   * ASCII. A retry after a lost answer can make the caller's own blob look like somebody else's: callers to whom that
   * matters look into the blob.
   * @throws BackupError BlobAlreadyExists
   */
  put(name: string, body: Uint8Array, summary?: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Stores a new blob, write-once and atomic as `put`, whose bytes are the parts one after another. Bytes of other blobs are
   * copied by the service itself where it can; where it refuses they go through the caller's process. They are copied as they
   * are, damaged or not. What a failure leaves behind the service drops by itself, and no listing shows it.
   * At most 50,000 pieces, a part of more than 100 MiB counting once for every 100 MiB begun.
   * @throws BackupError BlobAlreadyExists, BlobNotFound naming the source, PackCorrupt when a source is shorter
   */
  assemble(name: string, parts: readonly BlobPart[], summary?: Readonly<Record<string, string>>): Promise<Assembly>;
  /**
   * Resolves exactly `length` bytes from `offset`; in the first bytes of `into`, or else in memory of their own.
   * @throws BackupError BlobNotFound, PackCorrupt when the blob is shorter
   */
  read(name: string, offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Resolves all bytes. @throws BackupError BlobNotFound */
  readWhole(name: string): Promise<Uint8Array>;
  /** Resolves undefined when absent; absence is an answer here, not a failure. */
  stat(name: string): Promise<BlobInfo | undefined>;
  /** Yields the blobs under `prefix` in ascending byte order of their names, a page at a time. */
  list(prefix: string): AsyncIterable<BlobInfo>;
  /**
   * Yields the folders right below `prefix`, which ends with a slash: each name's part up to the next slash, that slash with it,
   * once, in ascending byte order. Names that lie there themselves are no folders. Costs a request for each page of folders,
   * however much is in them.
   */
  folders(prefix: string): AsyncIterable<string>;
  /**
   * Deleting what is absent succeeds, so that a retried delete is safe.
   * @throws BackupError BMSUserErrorObjectLocked while an immutability policy holds the blob
   */
  delete(name: string): Promise<void>;
}

/** Gives each vault its container. */
export interface VaultContainers {
  /** The container of that name (3 to 63 lower-case letters, digits, hyphens), created when absent. */
  open(containerName: string): Promise<VaultContainer>;
  /** Yields the names of the containers that vaults may have: those that begin with `vault-`, in ascending order. */
  list(): AsyncIterable<string>;
  /** Deletes the container and all in it; absent is fine. */
  drop(containerName: string): Promise<void>;
}

/** What the names of vaults' containers begin with. */
export const VAULT_CONTAINER_PREFIX = 'vault-';
