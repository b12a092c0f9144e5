import { AUDIT_SHARE } from './audit.ts';

/*
 * How far a disk's source of changes is trusted. It is believed, and checked. A miss, a block that it called unchanged and that differs from
 * the view, ends the belief: the next backup goes by hashes, which finds whatever else was left out. Then it is believed again, and after a
 * further miss mistrusted four times as long. Each time that the audit comes round without a miss one is forgotten.
 */

/** What a point knows of its disk's source. In blocks, and backups. */
export interface Trust {
  /** The audit goes on at this block of the disk. */
  readonly auditedTo: number;
  /** Allocated blocks that the audit has passed in this lap. */
  readonly lapBlocks: number;
  /** Allocated blocks of the disk: as the last lap has counted them, and what has come and gone since. */
  readonly allocatedBlocks: number;
  /** Backups that have met a miss, less one for each time that the audit has come round. */
  readonly misses: number;
  /** So many backups more go by hashes. */
  readonly byHashes: number;
}

/** What one backup has found out about one disk. */
export interface TrustFindings {
  readonly source: 'diff' | 'hashes' | 'full';
  /** Where the audit has stopped, and the allocated blocks that it has passed; undefined: nothing was audited. */
  readonly audit: { readonly next: number; readonly allocated: number } | undefined;
  /** Blocks that the source has called changed; of the whole disk where the source is not a diff. */
  readonly changedBlocks: number;
  /** Blocks with data that the base had none of, and those that the base had and that are cleared now. */
  readonly addedBlocks: number;
  readonly removedBlocks: number;
  readonly missedBlocks: number;
}

/** Longest mistrust. */
const MOST_BY_HASHES = 64;

/** Backups that go by hashes after miss number `misses`. */
function mistrust(misses: number): number {
  return Math.min(4 ** (misses - 1), MOST_BY_HASHES);
}

/**
 * The trust after a backup of a disk of `diskBlocks`; `before` is that of its base, undefined where a chain begins or nothing was noted:
 * then all of the disk may be allocated.
 */
export function trustAfter(before: Trust | undefined, found: TrustFindings, diskBlocks: number): Trust {
  const known = before ?? { auditedTo: 0, lapBlocks: 0, allocatedBlocks: diskBlocks, misses: 0, byHashes: 0 };
  const moved = Math.max(0, known.allocatedBlocks + found.addedBlocks - found.removedBlocks);
  if (found.source !== 'diff') {
    return { ...known, allocatedBlocks: found.changedBlocks, byHashes: Math.max(0, known.byHashes - 1) };
  }
  const { next, allocated } = found.audit ?? { next: known.auditedTo, allocated: 0 };
  const isLapDone = found.audit !== undefined && next === 0;
  const passed = known.lapBlocks + allocated;
  const isMissed = found.missedBlocks > 0;
  const misses = isMissed ? known.misses + 1 : Math.max(0, known.misses - (isLapDone ? 1 : 0));
  return {
    auditedTo: next,
    lapBlocks: isLapDone ? 0 : passed,
    allocatedBlocks: isLapDone ? passed : moved,
    misses,
    byHashes: isMissed ? mistrust(misses) : known.byHashes,
  };
}

/** Most blocks that the audit of a backup reads, of a disk with so many blocks. */
export function auditBudget(trust: Trust | undefined, diskBlocks: number): number {
  return Math.max(1, Math.ceil((trust?.allocatedBlocks ?? diskBlocks) / AUDIT_SHARE));
}
