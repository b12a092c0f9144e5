import type { RestoreTargets } from '../shared/disk/restore-targets.ts';
import { BLOCK_BYTES, REGION_BYTES } from '../shared/domain/units.ts';
import type { ThinDisk } from './thin-disk.ts';

/** Stands for the bytes that the disk has there, so that a restored disk takes no memory. */
const EXPECTED = Buffer.alloc(0);

/** Targets of restores of a thin disk: what is written is compared with the disk at once, and only where it was is kept. */
export interface ThinTargets {
  readonly targets: RestoreTargets;
  /** The offset of the first byte that is not the disk's as it is now; undefined when all of it has come and nothing else. */
  firstDifference(regions: number): number | undefined;
}

export function thinTargets(disk: ThinDisk): ThinTargets {
  /** Per region its written blocks, ascending, with their bytes. */
  const written = new Map<number, Map<number, Buffer>>();
  const wrong: number[] = [];

  const blocksIn = (region: number): [number, Buffer][] => [...(written.get(region) ?? [])].sort(([a], [b]) => a - b);

  return {
    firstDifference(regions) {
      for (let region = 0; region < regions; region++) {
        const there = written.get(region);
        for (const { block } of disk.blocksOf(region))
          if (there?.has(block) !== true) wrong.push(region * REGION_BYTES + block * BLOCK_BYTES);
      }
      return wrong.length === 0 ? undefined : Math.min(...wrong);
    },
    targets: {
      create: async () => undefined,
      async write(_target, offset, body) {
        for (let at = 0; at < body.length; at += BLOCK_BYTES) {
          const region = Math.floor((offset + at) / REGION_BYTES);
          const block = (offset + at - region * REGION_BYTES) / BLOCK_BYTES;
          const expected = disk.blocksOf(region).find((own) => own.block === block)?.bytes;
          const given = body.subarray(at, at + BLOCK_BYTES);
          const same = expected?.equals(given) === true;
          if (!same) wrong.push(offset + at);
          const blocks = written.get(region) ?? new Map<number, Buffer>();
          written.set(region, blocks);
          blocks.set(block, same ? EXPECTED : Buffer.from(given));
        }
      },
      async *allocated(_target, { start, end }) {
        for (let region = Math.floor(start / REGION_BYTES); region * REGION_BYTES < end; region++) {
          for (const [block] of blocksIn(region)) {
            const at = region * REGION_BYTES + block * BLOCK_BYTES;
            if (at >= start && at < end) yield { start: at, end: at + BLOCK_BYTES };
          }
        }
      },
      async readBack(_url, { start, end }) {
        const bytes = Buffer.alloc(end - start);
        const region = Math.floor(start / REGION_BYTES);
        const known = new Map(disk.blocksOf(region).map((own) => [own.block, own.bytes]));
        for (const [block, own] of blocksIn(region)) {
          const at = region * REGION_BYTES + block * BLOCK_BYTES - start;
          if (at >= 0 && at < bytes.length) (own === EXPECTED ? known.get(block)! : own).copy(bytes, at);
        }
        return bytes;
      },
      complete: async () => undefined,
      discard: async () => undefined,
      putText: async () => undefined,
    },
  };
}
