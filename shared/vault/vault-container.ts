/** What a listing or a look at one blob tells. */
export interface BlobInfo {
  readonly name: string;
  readonly sizeBytes: number;
  /** The small key-value pairs that were given when the blob was put. */
  readonly summary: Readonly<Record<string, string>>;
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
   * Stores `body` atomically: readers see all of it or nothing.
   *
   * `summary` is kept beside the bytes and comes back from `stat` and `list`; keys are lower-case letters, values printable
   * ASCII. A retry after a lost answer can make the caller's own blob look like somebody else's: callers to whom that
   * matters look into the blob.
   * @throws BackupError BlobAlreadyExists
   */
  put(name: string, body: Uint8Array, summary?: Readonly<Record<string, string>>): Promise<void>;
  /** Resolves exactly `length` bytes from `offset`. @throws BackupError BlobNotFound, PackCorrupt when the blob is shorter */
  read(name: string, offset: number, length: number): Promise<Uint8Array>;
  /** Resolves all bytes. @throws BackupError BlobNotFound */
  readWhole(name: string): Promise<Uint8Array>;
  /** Resolves undefined when absent; absence is an answer here, not a failure. */
  stat(name: string): Promise<BlobInfo | undefined>;
  /** Yields the blobs under `prefix` in ascending byte order of their names, a page at a time. */
  list(prefix: string): AsyncIterable<BlobInfo>;
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
  /** Deletes the container and all in it; absent is fine. */
  drop(containerName: string): Promise<void>;
}
