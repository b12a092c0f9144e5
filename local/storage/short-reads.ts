/**
 * Reads short ranges from files that stay open.
 *
 * For each run of pages that a read touches Azurite opens its file, streams from it, and closes it: more than half of what a read of
 * 100 KiB costs, and a process has but one core for all of them. A short range is read into one buffer here, from files that are kept
 * open; long ones are Azurite's own. A file is never written again under the same name with other bytes.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Azurite, Extent, ExtentStore } from './azurite-modules.ts';

const MOST_BYTES = 2 ** 20;
const FILES_KEPT_OPEN = 64;
/** Azurite's name for bytes that were never written. */
const ZEROS = '*ZERO*';

export function readShortRangesAtOnce({ FSExtentStore }: Azurite): void {
  const store = FSExtentStore.prototype;
  // oxlint-disable-next-line typescript/unbound-method -- called below with the store that reads
  const readByStreams = store.readExtents;
  const files = new OpenFiles();
  store.readExtents = async function (extents, offset = 0, count = Infinity, contextId) {
    if (count === 0 || count > MOST_BYTES) return readByStreams.call(this, extents, offset, count, contextId);
    const bytes = Buffer.alloc(count);
    let at = 0;
    const reads: Promise<void>[] = [];
    for (const { id, from, length } of within(extents, offset, count)) {
      if (id !== ZEROS) reads.push(fill(await files.of(await pathOf(this, id)), bytes.subarray(at, at + length), from));
      at += length;
    }
    await Promise.all(reads);
    // Where there are fewer bytes than asked for Azurite says so.
    if (at < count) return readByStreams.call(this, extents, offset, count, contextId);
    return Readable.from([bytes]);
  };
}

/** What of each extent lies between `offset` and `offset + count` of all of them. */
function* within(
  extents: readonly Extent[],
  offset: number,
  count: number,
): Generator<{ id: string; from: number; length: number }> {
  let before = 0;
  for (const extent of extents) {
    const start = Math.max(offset - before, 0);
    const end = Math.min(offset + count - before, extent.count);
    if (end > start) yield { id: extent.id, from: extent.offset + start, length: end - start };
    before += extent.count;
  }
}

async function pathOf(store: ExtentStore, id: string): Promise<string> {
  return store.generateExtentPath(await store.metadataStore.getExtentLocationId(id), id);
}

async function fill(file: FileHandle, into: Buffer, from: number): Promise<void> {
  for (let at = 0; at < into.length;) {
    const { bytesRead } = await file.read(into, at, into.length - at, from + at);
    if (bytesRead === 0)
      throw new RangeError(`an extent ends ${into.length - at} bytes before what a blob names of it`);
    at += bytesRead;
  }
}

/** The files that were read last. A file is closed when the reads under way have ended. */
class OpenFiles {
  readonly #files = new Map<string, Promise<FileHandle>>();

  async of(path: string): Promise<FileHandle> {
    const file = this.#files.get(path) ?? open(path);
    this.#files.delete(path);
    this.#files.set(path, file);
    for (const [oldest, opened] of this.#files) {
      if (this.#files.size <= FILES_KEPT_OPEN) break;
      this.#files.delete(oldest);
      void opened.then((each) => each.close()).catch(() => undefined);
    }
    try {
      return await file;
    } catch (error) {
      this.#files.delete(path);
      throw error;
    }
  }
}
