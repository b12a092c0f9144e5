const LOOK_MS = 20;

/** The process's peak resident memory by kind of step, looked at 50 times a second and whenever a step ends. Steps must not overlap. */
export class StepMemory {
  #kind: string | undefined;
  #peaks: Record<string, number> = {};
  readonly #timer = setInterval(() => this.#look(), LOOK_MS);

  async watch<Result>(kind: string, work: () => Promise<Result>): Promise<Result> {
    this.#kind = kind;
    try {
      return await work();
    } finally {
      this.#look();
      this.#kind = undefined;
    }
  }

  /** What has been seen since the last question, in bytes. */
  take(): Record<string, number> {
    const peaks = this.#peaks;
    this.#peaks = {};
    return peaks;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#kind === undefined) return;
    this.#peaks[this.#kind] = Math.max(this.#peaks[this.#kind] ?? 0, process.memoryUsage.rss());
  }
}
