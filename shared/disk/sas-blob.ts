/**
 * The bytes of a managed disk or snapshot behind a SAS: a page blob, the disk followed by a VHD footer.
 *
 * No error from here carries the URL: `SasRefused` says that the SAS is no longer good, everything else is the SDK's failure
 * without its request.
 */
import {
  AnonymousCredential,
  newPipeline,
  PageBlobClient,
  type Pipeline,
  type StorageRetryOptions,
} from '@azure/storage-blob';
import type { ByteRange } from '../domain/units.ts';
import { withoutRequest } from './managed-client.ts';
import { storageFailure } from '../azure/storage-failures.ts';
import { InjectorPolicyFactory, type TryWatch } from '../azure/observed-tries.ts';
import { goingOn, LEAST_BYTES_PER_MS, readInto, readThrough } from './page-blob-pieces.ts';
import type { ListedPage } from './page-blob-ranges.ts';
import { SasRefused } from './sas-grants.ts';

export interface SasBlobsOptions {
  /** Default: 5 tries, the second at once, then after 0.4, 1.2 and 2.8 s. */
  readonly retryOptions?: StorageRetryOptions;
  /** A request with all its tries is given up after this. Default 60,000 ms. */
  readonly deadlineMs?: number;
  /** Most ranges in a page of a listing; default is the service's own, 10,000. */
  readonly rangesPerPage?: number;
  /** Is told of each try of each request, and may hold it back; `disk` is whose bytes they are. */
  readonly tries?: { readonly disk: string; readonly watch: TryWatch };
}

/** Requests to URLs that carry their own authority. All fail with SasRefused when that has ended. */
export interface SasBlobs {
  /** Fills `into` from `offset` on, by one request. @throws RangeError when the blob ends before */
  readInto(url: string, offset: number, into: Uint8Array): Promise<void>;
  /** Gives `take` the bytes of `range` in pieces, by one request. @throws RangeError when the blob ends before */
  readThrough(url: string, range: ByteRange, take: (bytes: Uint8Array) => Promise<void>): Promise<void>;
  /** One Put Page: at most 4 MiB, whole sectors. */
  write(url: string, offset: number, body: Uint8Array): Promise<void>;
  /** One page of the listing of what `window` holds; undefined when it lies beyond the blob's end. */
  listed(url: string, window: ByteRange, token: string | undefined): Promise<ListedPage | undefined>;
  /** One page of the listing of what changed in `window` since the snapshot behind `previousUrl`. */
  compared(
    url: string,
    previousUrl: string,
    window: ByteRange,
    token: string | undefined,
  ): Promise<ListedPage | undefined>;
}

const PREVIOUS_SNAPSHOT = 'x-ms-previous-snapshot-url';

/** Pipelines kept: regions of one transfer ask for the same comparison. */
const MOST_COMPARISONS = 16;

const MOST_TRIES = 5;
const RETRIES: StorageRetryOptions = { maxTries: MOST_TRIES, retryDelayInMs: 400, maxRetryDelayInMs: 10_000 };

function sasBlobs({
  retryOptions = RETRIES,
  deadlineMs = 60_000,
  rangesPerPage,
  tries,
}: SasBlobsOptions = {}): SasBlobs {
  // The SAS stays here: whoever watches knows the disk.
  const own: TryWatch | undefined = tries && {
    ready: () => tries.watch.ready(tries.disk),
    answered: (_, status, retryAfterMs) => tries.watch.answered(tries.disk, status, retryAfterMs),
  };
  const watched = (made: Pipeline): Pipeline => {
    if (own !== undefined) made.factories.push(new InjectorPolicyFactory(own, () => true));
    return made;
  };
  const pipeline = watched(newPipeline(new AnonymousCredential(), { retryOptions }));
  const comparisons = new Map<string, Pipeline>();
  const deadline = (moreMs = 0) => AbortSignal.timeout(deadlineMs + moreMs);
  const page = rangesPerPage === undefined ? {} : { maxPageSize: rangesPerPage };

  /**
   * A pipeline that names the snapshot to compare with. The SDK's own call for managed disks ignores the marker: it answers the
   * first 10,000 ranges again and again, or, asked once, loses the rest. The plain listing honours it, and the service compares
   * for whoever sends the header.
   */
  function comparing(previousUrl: string): Pipeline {
    const known = comparisons.get(previousUrl);
    if (known !== undefined) return known;
    const made = watched(newPipeline(new AnonymousCredential(), { retryOptions }));
    made.factories.push({
      create: (next) => ({
        sendRequest(request) {
          request.headers.set(PREVIOUS_SNAPSHOT, previousUrl);
          return next.sendRequest(request);
        },
      }),
    });
    if (comparisons.size >= MOST_COMPARISONS) comparisons.clear();
    comparisons.set(previousUrl, made);
    return made;
  }

  /** The SDK tries a 503 again, but no 429; who watches makes each try wait for as long as is wanted. */
  async function asked<T>(request: () => Promise<T>): Promise<T> {
    for (let count = 1; ; count++) {
      try {
        return await guarded(request);
      } catch (error) {
        if (tries === undefined || count === MOST_TRIES || storageFailure(error)?.status !== 429) throw error;
      }
    }
  }

  const listing = async (
    client: PageBlobClient,
    { start, end }: ByteRange,
    token: string | undefined,
  ): Promise<ListedPage | undefined> => {
    try {
      const pages = client
        .listPageRanges(start, end - start, { abortSignal: deadline() })
        .byPage({ ...page, ...(token === undefined ? {} : { continuationToken: token }) });
      return (await pages.next()).value;
    } catch (error) {
      if (storageFailure(error)?.status === 416) return undefined;
      throw error;
    }
  };

  return {
    readInto: (url, offset, into) =>
      asked(() => readInto(new PageBlobClient(url, pipeline), offset, into, deadline(), own)),
    readThrough: (url, range, take) =>
      goingOn(range, take, (left, counted) =>
        asked(() => {
          const { start, end } = left();
          const allowed = deadline(Math.ceil((end - start) / LEAST_BYTES_PER_MS));
          return readThrough(new PageBlobClient(url, pipeline), { start, end }, counted, allowed);
        }),
      ),
    write: (url, offset, body) =>
      asked(async () => {
        await new PageBlobClient(url, pipeline).uploadPages(body, offset, body.byteLength, { abortSignal: deadline() });
      }),
    listed: (url, window, token) => asked(() => listing(new PageBlobClient(url, pipeline), window, token)),
    compared: (url, previousUrl, window, token) =>
      asked(() => listing(new PageBlobClient(url, comparing(previousUrl)), window, token)),
  };
}

/** Disks whose pipelines are kept. */
const MOST_DISKS = 256;

/** The same for each disk, so that `watch` is told whose requests they are. */
export function sasBlobsByDisk(options: SasBlobsOptions = {}, watch?: TryWatch): (disk: string) => SasBlobs {
  const known = new Map<string, SasBlobs>();
  return (disk) => {
    const found = known.get(disk);
    if (found !== undefined) return found;
    const made = sasBlobs(watch === undefined ? options : { ...options, tries: { disk, watch } });
    if (known.size >= MOST_DISKS) known.clear();
    known.set(disk, made);
    return made;
  };
}

async function guarded<T>(request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const failure = storageFailure(error);
    if (failure === undefined) throw error;
    const bare = withoutRequest(error);
    if (failure.status === 401 || failure.status === 403) {
      throw new SasRefused(`the storage answered ${failure.status} ${failure.code}`, { cause: bare });
    }
    throw bare;
  }
}
