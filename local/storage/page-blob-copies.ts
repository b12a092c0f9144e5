/**
 * Gives every copied blob a range list of its own.
 *
 * Azurite stores the copy made by Copy Blob (asynchronous, also a snapshot put back over its base) and Copy Blob From URL
 * (synchronous) with the source's range list itself: the same array under two names. A write to either then changes both,
 * and a snapshot put back over its base changes when the base is written. An append blob's block list is shared in the
 * same way. In Azure a copy is independent of its source from the moment it is complete.
 *
 * The bytes stay shared, in extent files that are only ever appended to; so a copy costs no space until it is written.
 */
import type { Azurite, BlobModel, CopyStore } from './azurite-modules.ts';

/**
 * Wraps both copy operations of Azurite's metadata store. The original runs on a view of the store that answers the
 * look-up of the source with a copy of its lists; so the lists are apart before the destination can be seen by anybody.
 */
export function separatePageBlobCopies(azurite: Azurite): void {
  const store = azurite.LokiBlobMetadataStore.prototype;
  for (const operation of ['startCopyFromURL', 'copyFromURL'] as const) {
    const copy = store[operation];
    store[operation] = function (...request) {
      const view = Object.create(this) as CopyStore;
      view.getBlobWithLeaseUpdated = async (...lookUp) => {
        const found = await this.getBlobWithLeaseUpdated(...lookUp);
        const mustExist = lookUp[5]; // true for the source, which has to exist; false for the destination
        return mustExist === true && found !== undefined ? withOwnLists(found) : found;
      };
      return copy.apply(view, request);
    };
  }
}

function withOwnLists(source: BlobModel): BlobModel {
  const own = { ...source };
  if (source.pageRangesInOrder !== undefined) {
    own.pageRangesInOrder = source.pageRangesInOrder.map((range) => ({
      ...range,
      persistency: { ...range.persistency },
    }));
  }
  if (source.committedBlocksInOrder !== undefined) own.committedBlocksInOrder = [...source.committedBlocksInOrder];
  return own;
}
