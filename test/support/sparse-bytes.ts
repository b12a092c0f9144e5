import { SECTOR_BYTES, type ByteRange } from '../../shared/domain/units.ts';
import type { ChangedRange } from '../../shared/disk/disk-snapshots.ts';

const CHUNK_BYTES = 16_384;
const PAGES = CHUNK_BYTES / SECTOR_BYTES;

/** Never modified once in a map, so that snapshots share it. */
interface Chunk {
  readonly bytes: Uint8Array;
  /** For each page the number of the write that it holds, 0 where it holds none. */
  readonly writes: Uint32Array;
}

/** The bytes of a disk that mostly holds nothing: costs what is written, whatever the size. Ranges are whole pages of 512. */
export class SparseBytes {
  private readonly chunks: Map<number, Chunk>;

  constructor(chunks: Map<number, Chunk> = new Map()) {
    this.chunks = chunks;
  }

  /** The same bytes, from now on apart. */
  copy(): SparseBytes {
    return new SparseBytes(new Map(this.chunks));
  }

  /** `write` is a number that no earlier write had. */
  write(offset: number, body: Uint8Array, write: number): void {
    this.edit({ start: offset, end: offset + body.byteLength }, (chunk, inChunk, position) => {
      chunk.bytes.set(body.subarray(position - offset, position - offset + inChunk.end - inChunk.start), inChunk.start);
      chunk.writes.fill(write, inChunk.start / SECTOR_BYTES, inChunk.end / SECTOR_BYTES);
    });
  }

  clear(range: ByteRange): void {
    const held = this.indexes(range).map((index) => ({
      start: Math.max(range.start, index * CHUNK_BYTES),
      end: Math.min(range.end, (index + 1) * CHUNK_BYTES),
    }));
    for (const part of held) {
      this.edit(part, (chunk, inChunk) => {
        chunk.bytes.fill(0, inChunk.start, inChunk.end);
        chunk.writes.fill(0, inChunk.start / SECTOR_BYTES, inChunk.end / SECTOR_BYTES);
      });
    }
  }

  read(range: ByteRange): Uint8Array {
    const bytes = new Uint8Array(range.end - range.start);
    for (const index of this.indexes(range)) {
      const from = Math.max(range.start, index * CHUNK_BYTES);
      const to = Math.min(range.end, (index + 1) * CHUNK_BYTES);
      const chunk = this.chunks.get(index);
      if (chunk !== undefined) {
        bytes.set(chunk.bytes.subarray(from - index * CHUNK_BYTES, to - index * CHUNK_BYTES), from - range.start);
      }
    }
    return bytes;
  }

  /** Yields what differs from `since` in `window`: pages written since, and pages that held something then and nothing now. */
  *changedSince(since: SparseBytes, window: ByteRange): Generator<ChangedRange> {
    const indexes = new Set([...this.indexes(window), ...since.indexes(window)]);
    let open: ChangedRange | undefined;
    for (const index of [...indexes].sort((a, b) => a - b)) {
      const now = this.chunks.get(index);
      const then = since.chunks.get(index);
      if (now === then) continue;
      for (let page = 0; page < PAGES; page++) {
        const start = index * CHUNK_BYTES + page * SECTOR_BYTES;
        if (start < window.start || start >= window.end) continue;
        const written = now?.writes[page] ?? 0;
        if (written === (then?.writes[page] ?? 0)) continue;
        const kind = written === 0 ? 'cleared' : 'data';
        if (open !== undefined && open.end === start && open.kind === kind) {
          open = { ...open, end: start + SECTOR_BYTES };
        } else {
          if (open !== undefined) yield open;
          open = { kind, start, end: start + SECTOR_BYTES };
        }
      }
    }
    if (open !== undefined) yield open;
  }

  /** Yields the ranges of `window` that hold data. */
  *allocated(window: ByteRange): Generator<ByteRange> {
    for (const { start, end } of this.changedSince(NOTHING, window)) yield { start, end };
  }

  private edit(range: ByteRange, change: (chunk: Chunk, inChunk: ByteRange, position: number) => void): void {
    for (let index = Math.floor(range.start / CHUNK_BYTES); index * CHUNK_BYTES < range.end; index++) {
      const base = index * CHUNK_BYTES;
      const old = this.chunks.get(index);
      const chunk = {
        bytes: old?.bytes.slice() ?? new Uint8Array(CHUNK_BYTES),
        writes: old?.writes.slice() ?? new Uint32Array(PAGES),
      };
      const start = Math.max(range.start - base, 0);
      change(chunk, { start, end: Math.min(range.end - base, CHUNK_BYTES) }, base + start);
      if (chunk.writes.some((write) => write !== 0)) this.chunks.set(index, chunk);
      else this.chunks.delete(index);
    }
  }

  /** The chunks that exist in `range`, ascending, at the cost of the smaller of the two. */
  private indexes({ start, end }: ByteRange): number[] {
    const first = Math.floor(start / CHUNK_BYTES);
    const past = Math.ceil(end / CHUNK_BYTES);
    if (past - first > this.chunks.size) {
      return [...this.chunks.keys()].filter((index) => index >= first && index < past).sort((a, b) => a - b);
    }
    return Array.from({ length: Math.max(0, past - first) }, (_, i) => first + i).filter((i) => this.chunks.has(i));
  }
}

const NOTHING = new SparseBytes();
