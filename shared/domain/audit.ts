import type { BlockRun } from './extent.ts';

/*
 * A source of changed blocks that lies by omission is found by reading some of what it calls unchanged, a little in every backup:
 * a walk over the disk's addresses that goes on where the last one has stopped, and begins again at the disk's end.
 */

/** Of what is allocated, one part in so many is looked at by each backup: after as many backups all of it has been. */
export const AUDIT_SHARE = 100;
/**
 * Most requests to the source that the audit of one disk costs one backup: one for the listing of each region that it comes to, and one for
 * each run of blocks in it, which is read by a single request however long.
 */
export const AUDIT_REQUESTS = 64;
/** Gaps of up to so many blocks between allocated runs are always read rather than asked around. */
export const AUDIT_GAP_BLOCKS = 7;

/**
 * The longest gap that is read along, where `budgetBlocks` may be read. A request is worth a 64th of them, so that much longer gaps than a
 * reader bound by the disk's rates would join pay here; at half of that the gaps of all requests together leave half of the
 * budget to what is allocated.
 */
export function auditGap(budgetBlocks: number): number {
  return Math.max(AUDIT_GAP_BLOCKS, Math.floor(budgetBlocks / (2 * AUDIT_REQUESTS)));
}

/** Blocks of a region of which those that are allocated, or stored in the view, are compared. */
export interface AuditRun extends BlockRun {
  /** How many of them are read: those that are allocated, and gaps between. */
  readonly blocks: number;
}

/** What one backup looks at. */
export interface AuditWindows {
  /** By region. */
  readonly windows: ReadonlyMap<number, AuditRun>;
  /** Where the next backup goes on, in blocks of the disk; 0 when the end has been reached. */
  readonly next: number;
  /** Allocated blocks that lie in the windows. */
  readonly allocated: number;
}

/**
 * Chooses what is audited. It is told what the disk has allocated from `from` on, in ascending order, until it has enough. A region costs
 * one request for its listing, and each run of blocks in it another; the regions of `known`, those with anything in the
 * view, are looked at even if nothing is allocated there: a clear may have been left out.
 */
export class AuditWalk {
  readonly #from: number;
  readonly #regionBlocks: number;
  readonly #diskBlocks: number;
  readonly #budget: number;
  readonly #gap: number;
  readonly #known: readonly number[];
  /** The regions it has come to, with the blocks read there. */
  readonly #touched: { readonly region: number; blocks: number }[] = [];
  #nextKnown = 0;
  #requests = 0;
  /** Blocks read, gaps included; and those of them that are allocated. */
  #read = 0;
  #allocated = 0;
  /** Up to where has been read, and whether the request that read it can go on. */
  #end: number;
  #isOpen = false;
  #stoppedAt: number | undefined;

  /** @param budgetBlocks most blocks to be read; at least 1 */
  constructor(disk: {
    readonly from: number;
    readonly blocks: number;
    readonly regionBlocks: number;
    readonly known: Iterable<number>;
    readonly budgetBlocks: number;
  }) {
    this.#from = disk.from < disk.blocks ? disk.from : 0;
    this.#end = this.#from;
    this.#diskBlocks = disk.blocks;
    this.#regionBlocks = disk.regionBlocks;
    this.#budget = Math.max(1, disk.budgetBlocks);
    this.#gap = auditGap(this.#budget);
    const first = Math.floor(this.#from / disk.regionBlocks);
    const regions = Math.ceil(disk.blocks / disk.regionBlocks);
    this.#known = [...disk.known].filter((region) => region >= first && region < regions).sort((a, b) => a - b);
  }

  /** Where the listing that it is told has to begin. */
  get from(): number {
    return this.#from;
  }

  /** Blocks `start` to `end - 1` of the disk are allocated. False: it has enough. */
  add(start: number, end: number): boolean {
    for (let at = Math.max(start, this.#end); at < end;) {
      const region = Math.floor(at / this.#regionBlocks);
      const stop = Math.min(end, (region + 1) * this.#regionBlocks);
      if (!this.#reach(region) || !this.#take(at, stop)) return false;
      at = stop;
    }
    return true;
  }

  /** What it has chosen, when there is no more to tell or it had enough. */
  finish(): AuditWindows {
    if (this.#stoppedAt === undefined) this.#passKnown(Infinity);
    const end = this.#stoppedAt ?? this.#diskBlocks;
    const windows = new Map<number, AuditRun>();
    for (const { region, blocks } of this.#touched) {
      const first = region * this.#regionBlocks;
      const start = Math.max(this.#from, first);
      const stop = Math.min(end, first + this.#regionBlocks);
      if (start < stop) windows.set(region, { start: start - first, count: stop - start, blocks });
    }
    return { windows, next: this.#stoppedAt ?? 0, allocated: this.#allocated };
  }

  /** Comes to `region`, past the known ones before it. */
  #reach(region: number): boolean {
    return this.#passKnown(region) && this.#touch(region);
  }

  #passKnown(upTo: number): boolean {
    for (; this.#nextKnown < this.#known.length && this.#known[this.#nextKnown]! <= upTo; this.#nextKnown++) {
      if (!this.#touch(this.#known[this.#nextKnown]!)) return false;
    }
    return true;
  }

  #touch(region: number): boolean {
    if (this.#touched.at(-1)?.region === region) return true;
    // A region costs its listing, and is not begun where nothing could be read of it.
    if (this.#requests + 2 > AUDIT_REQUESTS || this.#read >= this.#budget) {
      return this.#stop(Math.max(this.#from, region * this.#regionBlocks));
    }
    this.#requests += 1;
    this.#touched.push({ region, blocks: 0 });
    this.#isOpen = false;
    return true;
  }

  /** Takes blocks `start` to `end - 1`, all of one region, as far as it may. */
  #take(start: number, end: number): boolean {
    const gap = start - this.#end;
    const joins = this.#isOpen && gap <= this.#gap && this.#read + gap < this.#budget;
    if (!joins) {
      if (this.#requests === AUDIT_REQUESTS || this.#read >= this.#budget) return this.#stop(start);
      this.#requests += 1;
      this.#isOpen = true;
    }
    const from = joins ? this.#end : start;
    const stop = Math.min(end, from + this.#budget - this.#read);
    this.#read += stop - from;
    this.#touched.at(-1)!.blocks += stop - from;
    this.#allocated += stop - start;
    this.#end = stop;
    return stop === end || this.#stop(stop);
  }

  #stop(at: number): false {
    this.#stoppedAt = at;
    return false;
  }
}
