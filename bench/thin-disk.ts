import type { ChangedRange, DiskSnapshot, DiskSnapshots } from '../shared/disk/disk-snapshots.ts';
import { BackupError } from '../shared/domain/errors.ts';
import { BLOCK_BYTES, type ByteRange, REGION_BYTES } from '../shared/domain/units.ts';

const BLOCKS = REGION_BYTES / BLOCK_BYTES;
/** Bytes of a block that do not compress; the rest are zeros, so that the simulated vault stays small. */
const NOISE_BYTES = 1024;
/** Odd, so that no two nights change the same block of a region. */
const NIGHT_STRIDE = 10_007;

/**
 * A simulated disk with one block of data in every region, and one more after every night, which holds nothing in memory: where
 * blocks are and what is in them follows from their region and their night.
 */
export interface ThinDisk {
  readonly snapshots: DiskSnapshots;
  /** A night's changes: one block of every region. */
  change(): void;
  /** What is in a region now: block numbers with their bytes, ascending. */
  blocksOf(region: number): { block: number; bytes: Buffer }[];
}

function blockOf(region: number, night: number): number {
  return ((Math.imul(region + 1, 0x9e3779b1) >>> 16) + night * NIGHT_STRIDE) % BLOCKS;
}

function bytesOf(region: number, night: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  let state = Math.imul(region * 64 + night + 1, 0x9e3779b1);
  for (let at = 0; at < NOISE_BYTES; at += 4) {
    // xorshift32: https://www.jstatsoft.org/article/view/v008i14
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state, at);
  }
  return bytes;
}

/** The blocks of `region` that were written in nights `from` to `to`, ascending. */
function written(region: number, from: number, to: number): { block: number; night: number }[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({ block: blockOf(region, from + i), night: from + i })).sort(
    (a, b) => a.block - b.block,
  );
}

export function thinDisk(url: string, regions: number): ThinDisk {
  const sizeBytes = regions * REGION_BYTES;
  const taken = new Map<string, { night: number; tags: Readonly<Record<string, string>> }>();
  let tonight = 0;

  const living = ({ id }: DiskSnapshot): number => {
    const found = taken.get(id);
    if (found === undefined)
      throw new BackupError('UserErrorInstantRpNotFound', `snapshot ${id} of ${url} does not exist`, { target: url });
    return found.night;
  };

  function* ranges(window: ByteRange, from: number, to: number): Generator<ChangedRange> {
    for (let region = Math.floor(window.start / REGION_BYTES); region * REGION_BYTES < window.end; region++) {
      for (const { block } of written(region, from, to)) {
        const start = Math.max(window.start, region * REGION_BYTES + block * BLOCK_BYTES);
        const end = Math.min(window.end, region * REGION_BYTES + (block + 1) * BLOCK_BYTES);
        if (start < end) yield { kind: 'data', start, end };
      }
    }
  }

  return {
    change: () => void (tonight += 1),
    blocksOf: (region) =>
      written(region, 0, tonight).map(({ block, night }) => ({ block, bytes: bytesOf(region, night) })),
    snapshots: {
      async describe() {
        return { url, createdAt: new Date(0).toISOString(), sizeBytes };
      },
      async take(_url, tags) {
        const takenAtMs = Date.now();
        const count = String(taken.size).padStart(4, '0');
        const id = new Date(takenAtMs).toISOString().replace('Z', `${count}Z`);
        taken.set(id, { night: tonight, tags });
        return { url, id, takenAtMs };
      },
      async *list() {
        for (const [id, { tags }] of taken) yield { url, id, tags };
      },
      sizeOf: async ({ id }) => (taken.has(id) ? sizeBytes : undefined),
      async remove({ id }) {
        taken.delete(id);
      },
      async *allocated(snapshot, window) {
        for (const { start, end } of ranges(window, 0, living(snapshot))) yield { start, end };
      },
      async *changed(snapshot, since, window) {
        yield* ranges(window, living(since) + 1, living(snapshot));
      },
      async read(snapshot, { start, end }) {
        const bytes = Buffer.alloc(end - start);
        const night = living(snapshot);
        const region = Math.floor(start / REGION_BYTES);
        for (const { block, night: own } of written(region, 0, night)) {
          const at = region * REGION_BYTES + block * BLOCK_BYTES - start;
          if (at >= 0 && at < bytes.length) bytesOf(region, own).copy(bytes, at);
        }
        return bytes;
      },
      async readLong(snapshot, { start, end }, take) {
        for (let at = start; at < end; at += 2 ** 20)
          await take(await this.read(snapshot, { start: at, end: Math.min(end, at + 2 ** 20) }));
      },
      probeChangeTracking: async () => ({ usable: true, reason: 'simulated' }),
    },
  };
}
