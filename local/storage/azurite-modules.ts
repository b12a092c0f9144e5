/**
 * Azurite's own classes, loaded from the installed package.
 *
 * Azurite publishes programs, not an API: these are modules inside its `dist`, so the version is pinned exactly and the
 * types here state only what this folder uses.
 */
import Module, { createRequire } from 'node:module';
import type { Server } from 'node:http';
import type { StoredRange } from './page-range-diff.ts';

/** LokiJS, the in-memory database with a JSON file behind each of Azurite's metadata stores. */
export interface LokiDatabase {
  filename: string;
  collections: { data: Record<string, unknown>[] }[];
  autosaveDirty(): boolean;
  autosaveDisable(): void;
  saveDatabase(done: (error?: unknown) => void): void;
}

/** One running Azurite service. `getStatus()` answers "Running" while it serves. */
export interface AzuriteServer {
  httpServer: Server;
  metadataStore: { db: LokiDatabase; init(): Promise<void> };
  extentMetadataStore?: { db: LokiDatabase; updateExtent(extent: ExtentModel): Promise<void> };
  extentStore?: { init(): Promise<void> };
  getStatus(): string;
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface ExtentModel {
  id: string;
  locationId: string;
  path: string;
  size: number;
  lastModifiedInMS: number;
}

/** Where a service keeps the bytes that are not metadata. */
export interface PersistencePath {
  locationId: string;
  locationPath: string;
  maxConcurrency: number;
}

/** A blob or snapshot in the metadata store. Times are `Date`, or ISO text once reloaded from the file. */
export interface BlobModel {
  properties: {
    blobType?: string;
    creationTime?: Date | string;
    lastModified: Date | string;
    etag?: string;
    contentLength?: number;
    blobSequenceNumber?: number;
  };
  pageRangesInOrder?: StoredRange[];
  committedBlocksInOrder?: object[];
}

export interface RequestContext {
  contextId: string;
  startTime: Date;
  request: { getHeader(name: string): string | undefined; getQuery(name: string): string | undefined };
}

/** A request's context seen through Azurite's eyes: which account, container and blob its URL names. */
export interface BlobContext {
  account: string;
  container: string;
  blob: string;
}

export interface BlobMetadataStore {
  getBlob(
    context: RequestContext,
    account: string,
    container: string,
    blob: string,
    snapshot?: string,
  ): Promise<BlobModel | undefined>;
  getPageRanges(
    context: RequestContext,
    account: string,
    container: string,
    blob: string,
    snapshot: string | undefined,
    leaseAccessConditions: unknown,
    modifiedAccessConditions: unknown,
  ): Promise<BlobModel>;
}

export interface PageListOptions {
  snapshot?: string;
  marker?: string;
  maxresults?: number;
  requestId?: string;
  leaseAccessConditions?: unknown;
  modifiedAccessConditions?: unknown;
}

type Class<Arguments extends unknown[], Instance> = { new (...args: Arguments): Instance; prototype: Instance };

type PageListMethod = (
  this: { metadataStore: BlobMetadataStore },
  options: PageListOptions,
  context: RequestContext,
) => Promise<unknown>;

/** The metadata store as its copy operations see it. */
export interface CopyStore {
  getBlobWithLeaseUpdated(
    account: string,
    container: string,
    blob: string,
    snapshot: string | undefined,
    context: RequestContext,
    forceExist?: boolean,
    forceCommitted?: boolean,
  ): Promise<BlobModel | undefined>;
  startCopyFromURL(this: CopyStore, ...request: unknown[]): Promise<unknown>;
  copyFromURL(this: CopyStore, ...request: unknown[]): Promise<unknown>;
}

/** What this folder uses of Azurite. */
export interface Azurite {
  BlobServer: Class<[configuration: unknown], AzuriteServer>;
  BlobConfiguration: Class<unknown[], unknown>;
  QueueServer: Class<[configuration: unknown], AzuriteServer>;
  QueueConfiguration: Class<unknown[], unknown>;
  TableServer: Class<[configuration: unknown], AzuriteServer>;
  TableConfiguration: Class<unknown[], unknown>;
  blobConstants: { DEFAULT_BLOB_PERSISTENCE_ARRAY: readonly PersistencePath[] };
  queueConstants: { DEFAULT_QUEUE_PERSISTENCE_ARRAY: readonly PersistencePath[] };
  logging: { configLogger(enabled: boolean): void };
  telemetry: { AzuriteTelemetryClient: { init(location: string, enabled: boolean, environment: undefined): void } };
  StorageError: Class<[status: number, code: string, message: string, requestId: string], Error>;
  BlobStorageContext: Class<[RequestContext], BlobContext>;
  LokiBlobMetadataStore: { prototype: CopyStore };
  PageBlobHandler: { prototype: { getPageRanges: PageListMethod; getPageRangesDiff: PageListMethod } };
  BlobHandler: { prototype: DownloadHandler };
  FSExtentStore: { prototype: ExtentStore };
  checksums: { computeAndValidateTransactionalChecksums: ChecksumFunction };
  accountInfoHandlers: { prototype: { getAccountInfo: AccountInfoMethod } }[];
}

/** A run of bytes in an extent file. */
export interface Extent {
  readonly id: string;
  readonly offset: number;
  readonly count: number;
}

/** Where the bytes of blobs and messages are. */
export interface ExtentStore {
  readonly metadataStore: { getExtentLocationId(id: string): Promise<string> };
  generateExtentPath(locationId: string, id: string): string;
  /** A stream of `count` bytes from `offset` on of the extents, one after another. */
  readExtents(
    this: ExtentStore,
    extents: readonly Extent[],
    offset?: number,
    count?: number,
    contextId?: string,
  ): Promise<NodeJS.ReadableStream>;
}

/** Opens bytes of extent files; resolves to nothing where there is no body. */
export type ExtentRead = (...request: unknown[]) => Promise<unknown>;

export type DownloadMethod = (
  this: DownloadHandler,
  options: unknown,
  context: RequestContext,
  blob: BlobModel,
) => Promise<{ body?: unknown }>;

/** The handler that answers reads of blobs. */
export interface DownloadHandler {
  extentStore: { readExtent: ExtentRead; readExtents: ExtentRead };
  downloadPageBlob: DownloadMethod;
  downloadBlockBlobOrAppendBlob: DownloadMethod;
}

/** Checks a request's body against the checksums that came with it; `force` asks for one that did not come. */
export type ChecksumFunction = (
  stream: NodeJS.ReadableStream,
  expected: { md5?: unknown; crc64?: unknown },
  contextId: string,
  force?: { md5?: boolean; crc64?: boolean },
) => Promise<{ md5?: Uint8Array; crc64?: Uint8Array }>;

type AccountInfoMethod = (context: RequestContext) => Promise<{ skuName?: string }>;

const require = createRequire(import.meta.url);

function load(path: string): unknown {
  return require(`azurite/dist/src/${path}`);
}

function loadDefault(path: string): unknown {
  return (load(path) as { default: unknown }).default;
}

/**
 * Puts an empty module in the place of the library that Azurite would report usage with. With telemetry off nothing in it
 * is ever called, but loading it takes 0.8 of the 1.1 s that loading Azurite takes; and what is not there cannot call home.
 */
function leaveOutTelemetry(): void {
  const path = createRequire(require.resolve('azurite/package.json')).resolve('applicationinsights');
  const empty = new Module(path);
  empty.exports = {};
  empty.loaded = true;
  require.cache[path] = empty;
}

/** Loads Azurite. Only the storage process calls it. */
export function loadAzurite(): Azurite {
  leaveOutTelemetry();
  return {
    BlobServer: loadDefault('blob/BlobServer.js') as Azurite['BlobServer'],
    BlobConfiguration: loadDefault('blob/BlobConfiguration.js') as Azurite['BlobConfiguration'],
    QueueServer: loadDefault('queue/QueueServer.js') as Azurite['QueueServer'],
    QueueConfiguration: loadDefault('queue/QueueConfiguration.js') as Azurite['QueueConfiguration'],
    TableServer: loadDefault('table/TableServer.js') as Azurite['TableServer'],
    TableConfiguration: loadDefault('table/TableConfiguration.js') as Azurite['TableConfiguration'],
    blobConstants: load('blob/utils/constants.js') as Azurite['blobConstants'],
    queueConstants: load('queue/utils/constants.js') as Azurite['queueConstants'],
    logging: load('common/Logger.js') as Azurite['logging'],
    telemetry: load('common/Telemetry.js') as Azurite['telemetry'],
    StorageError: loadDefault('blob/errors/StorageError.js') as Azurite['StorageError'],
    BlobStorageContext: loadDefault('blob/context/BlobStorageContext.js') as Azurite['BlobStorageContext'],
    LokiBlobMetadataStore: loadDefault('blob/persistence/LokiBlobMetadataStore.js') as Azurite['LokiBlobMetadataStore'],
    PageBlobHandler: loadDefault('blob/handlers/PageBlobHandler.js') as Azurite['PageBlobHandler'],
    BlobHandler: loadDefault('blob/handlers/BlobHandler.js') as Azurite['BlobHandler'],
    FSExtentStore: loadDefault('common/persistence/FSExtentStore.js') as Azurite['FSExtentStore'],
    checksums: load('blob/utils/utils.js') as Azurite['checksums'],
    accountInfoHandlers: ['ServiceHandler', 'ContainerHandler', 'BlobHandler'].map((name) =>
      loadDefault(`blob/handlers/${name}.js`),
    ) as Azurite['accountInfoHandlers'],
  };
}
