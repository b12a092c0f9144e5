/** How long at least one call of a kind was under way, how many calls there were, and how many bytes they moved. */
export interface BusyTimes {
  readonly seconds: number;
  readonly calls: number;
  readonly bytes: number;
}

/** Watches calls of several kinds. Kinds overlap, so their times may add up to more than the clock shows. */
export class BusyMeter {
  readonly #kinds = new Map<string, { under: number; since: number; ms: number; calls: number; bytes: number }>();

  async watch<Result>(kind: string, bytes: number, call: () => Promise<Result>): Promise<Result> {
    const entry = this.#kinds.get(kind) ?? { under: 0, since: 0, ms: 0, calls: 0, bytes: 0 };
    this.#kinds.set(kind, entry);
    if (entry.under++ === 0) entry.since = performance.now();
    entry.calls += 1;
    entry.bytes += bytes;
    try {
      return await call();
    } finally {
      if (--entry.under === 0) entry.ms += performance.now() - entry.since;
    }
  }

  /** What has been seen since the last question. */
  take(): Record<string, BusyTimes> {
    const times = [...this.#kinds].map(
      ([kind, { ms, calls, bytes }]) => [kind, { seconds: ms / 1_000, calls, bytes }] as const,
    );
    this.#kinds.clear();
    return Object.fromEntries(times);
  }
}
