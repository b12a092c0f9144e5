/**
 * Finds the snapshot that a Get Page Ranges request is to be compared with.
 *
 * `prevsnapshot` is the time of another snapshot of the same blob. `x-ms-previous-snapshot-url` is the URL of one, with a
 * SAS where it lies in another account; Azure takes it for disk snapshots, which are blobs of their own. So the URL may
 * here name another page blob: copies keep the pieces of their source, and a comparison of two copies is exact.
 */
import type { Azurite, BlobContext, BlobMetadataStore, BlobModel, RequestContext } from './azurite-modules.ts';
import type { StoredRange } from './page-range-diff.ts';

export interface PreviousSnapshot {
  ranges: readonly StoredRange[];
  /** Snapshot time; empty when the URL names a blob that is not a snapshot. */
  snapshot: string;
  createdAt: Date | string | undefined;
  /** Whether it belongs to the blob that is asked about, so that their times can be compared. */
  sameBlob: boolean;
}

type Locate = (
  store: BlobMetadataStore,
  target: BlobContext,
  context: RequestContext,
) => Promise<PreviousSnapshot | undefined>;

/** The form of a snapshot time: seven digits of a second. */
const SNAPSHOT_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$/;

/** The returned function resolves `undefined` for a request that names no previous snapshot. */
export function previousSnapshotLocator(azurite: Azurite, blobPort: () => number): Locate {
  return async (store, target, context) => {
    const fail = (status: number, code: string, message: string): Error =>
      new azurite.StorageError(status, code, message, context.contextId);
    const time = context.request.getQuery('prevsnapshot') || undefined;
    const url = context.request.getHeader('x-ms-previous-snapshot-url') || undefined;
    if (time === undefined && url === undefined) return undefined;
    if (time !== undefined && url !== undefined) {
      throw fail(400, 'InvalidInput', 'Give either prevsnapshot or x-ms-previous-snapshot-url, not both.');
    }
    if (time !== undefined && !SNAPSHOT_TIME.test(time)) {
      throw fail(
        400,
        'InvalidQueryParameterValue',
        `prevsnapshot is "${time}"; it must be a snapshot time such as 2026-11-22T07:19:42.5110000Z.`,
      );
    }

    const named = url === undefined ? { ...target, snapshot: time ?? '' } : parseBlobUrl(url);
    if (named === undefined) {
      throw fail(400, 'InvalidHeaderValue', 'x-ms-previous-snapshot-url is not the URL of a blob.');
    }
    if (url !== undefined && !(await mayRead(url, named.account === target.account, blobPort()))) {
      throw fail(403, 'AuthorizationFailure', 'x-ms-previous-snapshot-url does not grant reading its blob.');
    }
    const found = await store.getBlob(context, named.account, named.container, named.blob, named.snapshot);
    if (found === undefined) throw fail(409, 'PreviousSnapshotNotFound', 'The previous snapshot is not found.');
    if (found.properties.blobType !== 'PageBlob') {
      throw fail(
        409,
        'PreviousSnapshotOperationNotSupported',
        'Differential Get Page Ranges is not supported on the previous snapshot.',
      );
    }
    return describe(found, named, target);
  };
}

function describe(found: BlobModel, named: BlobContext & { snapshot: string }, target: BlobContext): PreviousSnapshot {
  return {
    ranges: found.pageRangesInOrder ?? [],
    snapshot: named.snapshot,
    createdAt: found.properties.creationTime,
    sameBlob:
      named.snapshot !== '' &&
      named.account === target.account &&
      named.container === target.container &&
      named.blob === target.blob,
  };
}

/** Reads `http://host:port/account/container/blob?snapshot=...`, whatever its host: there is one blob service here. */
function parseBlobUrl(text: string): (BlobContext & { snapshot: string }) | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const [, account, container, ...rest] = url.pathname.split('/').map(decodeURIComponent);
  const blob = rest.join('/');
  if (!account || !container || blob === '') return undefined;
  return { account, container, blob, snapshot: url.searchParams.get('snapshot') ?? '' };
}

/**
 * Whether the request may read the blob that its URL names: by the URL's own SAS, which this service is asked about, or
 * because it lies in the account that the request itself was authorised for. An absent blob is left to the look-up.
 */
async function mayRead(url: string, sameAccount: boolean, blobPort: number): Promise<boolean> {
  const { pathname, search, searchParams } = new URL(url);
  if (!searchParams.has('sig')) return sameAccount;
  const answer = await fetch(`http://127.0.0.1:${blobPort}${pathname}${search}`, { method: 'HEAD' });
  return answer.ok || answer.status === 404;
}
