/**
 * Leaves out checksums of reads that nobody asked for.
 *
 * Azurite reads a range of up to 4 MiB from its file twice: once for an MD5, once for the answer. It puts the MD5 into the answer
 * only where the request asks for it (`x-ms-range-get-content-md5`), and for a read of a whole blob. A read of a range that does
 * not ask is answered here without the first pass; all others are Azurite's own.
 */
import type { Azurite, DownloadHandler, DownloadMethod, ExtentRead, RequestContext } from './azurite-modules.ts';

export function leaveOutUnaskedReads({ BlobHandler }: Azurite): void {
  const handler = BlobHandler.prototype;
  for (const operation of ['downloadPageBlob', 'downloadBlockBlobOrAppendBlob'] as const) {
    handler[operation] = withoutFirstPass(handler[operation]);
  }
}

/** The original runs on a view of the handler that opens nothing, and so hashes nothing; the body is opened once it has answered. */
function withoutFirstPass(download: DownloadMethod): DownloadMethod {
  return async function (options, context, blob) {
    if (!isUncheckedRange(context)) return download.call(this, options, context, blob);
    let open: ExtentRead = async () => undefined;
    const later =
      (read: ExtentRead) =>
      async (...request: unknown[]) => {
        open = () => read.apply(this.extentStore, request);
      };
    const { readExtent, readExtents } = this.extentStore;
    const view = Object.create(this) as DownloadHandler;
    view.extentStore = { readExtent: later(readExtent), readExtents: later(readExtents) };
    const answer = await download.call(view, options, context, blob);
    answer.body = await open();
    return answer;
  };
}

function isUncheckedRange({ request }: RequestContext): boolean {
  const asks = request.getHeader('x-ms-range-get-content-md5') !== undefined;
  const range = request.getHeader('x-ms-range') ?? request.getHeader('range');
  return range !== undefined && !asks;
}
