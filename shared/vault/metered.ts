import type { VaultContainer } from './vault-container.ts';

/** What has been asked of a vault's container so far. Azure bills requests by these kinds, failed ones too. */
export interface RequestTotals {
  put: number;
  /** Blocks of blobs that were put together from parts, and the lists that made them blobs: billed as writes. */
  block: number;
  read: number;
  /** Pages of listings, at the 5,000 names that Azure gives a page. */
  list: number;
  delete: number;
  stat: number;
  /** Bytes of bodies that were stored. */
  bytesWritten: number;
  /** Bytes of bodies that were read. */
  bytesRead: number;
}

/** Names in a page of a listing: the service's most, and its default. */
const NAMES_PER_PAGE = 5_000;

/** Counts what passes through to `container`. Tries that the adapter repeats inside are not seen here. */
export function metered(container: VaultContainer): {
  readonly container: VaultContainer;
  readonly totals: () => RequestTotals;
} {
  const totals: RequestTotals = {
    put: 0,
    block: 0,
    read: 0,
    list: 0,
    delete: 0,
    stat: 0,
    bytesWritten: 0,
    bytesRead: 0,
  };
  const counted: VaultContainer = {
    async put(name, body, summary) {
      totals.put += 1;
      await container.put(name, body, summary);
      totals.bytesWritten += body.byteLength;
    },
    async assemble(name, parts, summary) {
      const assembly = await container.assemble(name, parts, summary);
      totals.block += assembly.blockRequests;
      totals.read += assembly.readRequests;
      totals.bytesRead += assembly.bytesMoved;
      totals.bytesWritten += parts.reduce(
        (sum, part) => sum + ('bytes' in part ? part.bytes.byteLength : part.length),
        0,
      );
      return assembly;
    },
    async read(name, offset, length, into) {
      totals.read += 1;
      const bytes = await container.read(name, offset, length, into);
      totals.bytesRead += bytes.byteLength;
      return bytes;
    },
    async readWhole(name) {
      totals.read += 1;
      const bytes = await container.readWhole(name);
      totals.bytesRead += bytes.byteLength;
      return bytes;
    },
    stat(name) {
      totals.stat += 1;
      return container.stat(name);
    },
    async *list(prefix) {
      let names = 0;
      totals.list += 1;
      for await (const blob of container.list(prefix)) {
        if (names > 0 && names % NAMES_PER_PAGE === 0) totals.list += 1;
        names += 1;
        yield blob;
      }
    },
    async *folders(prefix) {
      let folders = 0;
      totals.list += 1;
      for await (const folder of container.folders(prefix)) {
        if (folders > 0 && folders % NAMES_PER_PAGE === 0) totals.list += 1;
        folders += 1;
        yield folder;
      }
    },
    delete(name) {
      totals.delete += 1;
      return container.delete(name);
    },
  };
  return { container: counted, totals: () => ({ ...totals }) };
}
