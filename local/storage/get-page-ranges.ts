/**
 * Answers Get Page Ranges as Azure does: differences from a previous snapshot, and pages of results.
 *
 * Azurite's dispatcher cannot tell Get Page Ranges with `prevsnapshot` from the plain operation, so the plain handler
 * answers both: the previous snapshot is ignored, every allocated range comes back as changed, cleared pages are never
 * reported, and `maxresults` and `marker` are ignored too. Here the handler branches on the previous snapshot's presence.
 *
 * As documented for Azure (https://learn.microsoft.com/rest/api/storageservices/get-page-ranges and blob-service-error-codes):
 * - at most 10,000 ranges in an answer, fewer with `maxresults`, the rest by an opaque `marker`; since version 2020-10-02;
 * - the previous snapshot is a time (`prevsnapshot`) or, for disk snapshots, a URL (`x-ms-previous-snapshot-url`);
 * - PreviousSnapshotNotFound (409), PreviousSnapshotCannotBeNewer (400), BlobOverwritten (409: the blob was created anew,
 *   by Put Blob or Copy Blob, since the previous snapshot), PreviousSnapshotOperationNotSupported (409: no page blob).
 *
 * Ranges past the present end of a shrunk blob are not part of it and are not listed; pages lost by shrinking and grown
 * over again are listed as cleared. A page range that does not start and end at page boundaries is widened to them.
 */
import type { Azurite, BlobModel, PageListOptions, RequestContext } from './azurite-modules.ts';
import { type ByteRange, type ChangedRange, type StoredRange, diffPageRanges, PAGE_BYTES } from './page-range-diff.ts';
import { type PreviousSnapshot, previousSnapshotLocator } from './previous-snapshot.ts';

/** Azure returns at most so many ranges in one answer. */
const MAX_RESULTS = 10_000;

/** The first service version that knows `maxresults` and `marker`; older clients get everything in one answer. */
const PAGING_SINCE = '2020-10-02';

const MARKER_PREFIX = 'page-';

/** Replaces the page-range handlers of Azurite. `blobPort` gives the port that the blob service listens on. */
export function completePageRanges(azurite: Azurite, blobPort: () => number): void {
  const { StorageError, BlobStorageContext } = azurite;
  const locatePrevious = previousSnapshotLocator(azurite, blobPort);
  const handler = azurite.PageBlobHandler.prototype;

  handler.getPageRanges = async function (options, context) {
    const { account, container, blob: name } = new BlobStorageContext(context);
    const store = this.metadataStore;
    const blob = await store.getPageRanges(
      context,
      account,
      container,
      name,
      options.snapshot,
      options.leaseAccessConditions,
      options.modifiedAccessConditions,
    );
    const fail = (status: number, code: string, message: string): Error =>
      new StorageError(status, code, message, context.contextId);

    const previous = await locatePrevious(store, { account, container, blob: name }, context);
    if (previous !== undefined) refuseUnlessEarlier(previous, blob, options.snapshot, fail);

    const window = requestedWindow(context, blob.properties.contentLength ?? 0, fail);
    const marked = options.marker ? markedStart(options.marker, fail) : 0;
    const paged = (context.request.getHeader('x-ms-version') ?? PAGING_SINCE) >= PAGING_SINCE;
    const limit = paged ? Math.min(options.maxresults ?? MAX_RESULTS, MAX_RESULTS) : Infinity;
    if (limit < 1) {
      throw fail(400, 'OutOfRangeQueryParameterValue', `maxresults is ${options.maxresults}; it must be at least 1.`);
    }

    const changed = diffPageRanges(previous?.ranges ?? [], storedRanges(blob), {
      start: Math.max(window.start, marked),
      end: window.end,
    });
    return pageListResponse(takePage(changed, limit), paged, blob, options, context);
  };
  handler.getPageRangesDiff = handler.getPageRanges;
}

type Fail = (status: number, code: string, message: string) => Error;

function refuseUnlessEarlier(
  previous: PreviousSnapshot,
  target: BlobModel,
  snapshot: string | undefined,
  fail: Fail,
): void {
  if (!previous.sameBlob) return;
  // Snapshot times are ISO text of one length, so they sort as text. The live blob is newer than all its snapshots.
  if (snapshot !== undefined && snapshot !== '' && previous.snapshot > snapshot) {
    throw fail(
      400,
      'PreviousSnapshotCannotBeNewer',
      'The prevsnapshot query parameter value cannot be newer than snapshot query parameter value.',
    );
  }
  if (timeOf(previous.createdAt) !== timeOf(target.properties.creationTime)) {
    throw fail(409, 'BlobOverwritten', 'The blob has been recreated since the previous snapshot was taken.');
  }
}

function timeOf(time: Date | string | undefined): number | undefined {
  return time === undefined ? undefined : new Date(time).getTime();
}

/**
 * The part of the blob that is asked for: `x-ms-range` or else `Range`, else all of it; never past the blob's end. A range
 * has to start inside the blob, or at 0, since clients ask for "0-" when they mean all, of an empty blob too.
 */
function requestedWindow(context: RequestContext, blobBytes: number, fail: Fail): ByteRange {
  const header = context.request.getHeader('x-ms-range') ?? context.request.getHeader('range');
  if (header === undefined) return { start: 0, end: blobBytes - 1 };
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(header) ?? [];
  const start = Number(first);
  const end = last === '' || last === undefined ? Infinity : Number(last);
  if (first === undefined || end < start || (start > 0 && start >= blobBytes)) {
    throw fail(416, 'InvalidPageRange', `The page range specified is invalid: "${header}" of ${blobBytes} bytes.`);
  }
  return {
    start: start - (start % PAGE_BYTES),
    end: Math.min(blobBytes, (Math.floor(end / PAGE_BYTES) + 1) * PAGE_BYTES) - 1,
  };
}

function storedRanges(blob: BlobModel): readonly StoredRange[] {
  return blob.pageRangesInOrder ?? [];
}

/** A marker holds the first byte that has not been looked at. */
function markerAt(start: number): string {
  return Buffer.from(`${MARKER_PREFIX}${start}`).toString('base64url');
}

function markedStart(marker: string, fail: Fail): number {
  const text = Buffer.from(marker, 'base64url').toString();
  const start = text.startsWith(MARKER_PREFIX) ? Number(text.slice(MARKER_PREFIX.length)) : NaN;
  if (!Number.isSafeInteger(start) || start < 0 || markerAt(start) !== marker) {
    throw fail(400, 'InvalidQueryParameterValue', 'marker is not one that this service has returned.');
  }
  return start;
}

function takePage(changed: Iterable<ChangedRange>, limit: number): { ranges: ChangedRange[]; nextStart?: number } {
  const ranges: ChangedRange[] = [];
  for (const range of changed) {
    if (ranges.length === limit) return { ranges, nextStart: range.start };
    ranges.push(range);
  }
  return { ranges };
}

function pageListResponse(
  page: { ranges: readonly ChangedRange[]; nextStart?: number },
  paged: boolean,
  blob: BlobModel,
  options: PageListOptions,
  context: RequestContext,
) {
  const ofKind = (kind: ChangedRange['kind']) =>
    page.ranges.filter((range) => range.kind === kind).map(({ start, end }) => ({ start, end }));
  return {
    statusCode: 200,
    pageRange: ofKind('page'),
    clearRange: ofKind('clear'),
    nextMarker: paged ? (page.nextStart === undefined ? '' : markerAt(page.nextStart)) : undefined,
    eTag: blob.properties.etag,
    blobContentLength: blob.properties.contentLength,
    lastModified: new Date(blob.properties.lastModified),
    requestId: context.contextId,
    version: context.request.getHeader('x-ms-version'),
    clientRequestId: options.requestId,
    date: context.startTime,
  };
}
