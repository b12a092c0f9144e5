/** A run of a function that a host has begun. */
export interface Invocation {
  /** The function, or, once it has said so, the step that it does. */
  readonly fn: string;
  readonly pid: number;
  readonly id: string;
}

const EVENT =
  /^\[(?<fn>[^\]]+)\] (?:error: )?(?:request=\S+ correlation=\S+ (?:(?:job|item)=\S+ )*)?(?<what>executing|step [a-z-]+|succeeded in \d+ ms|failed after \d+ ms) \((?<id>[0-9a-f-]{36})\)/;

/**
 * What Functions hosts run at this moment, by what they print at the log level `information`. A host prints a line before it goes
 * on, so what a killed host has begun without a word of its end is what the kill has hit.
 */
export class HostLog {
  readonly #running = new Map<string, Invocation>();
  readonly #onBegin: (invocation: Invocation) => void;
  /** Runs that have begun and ended, of all hosts so far. */
  events = 0;

  constructor(onBegin: (invocation: Invocation) => void = () => undefined) {
    this.#onBegin = onBegin;
  }

  /** Takes a line that a host has printed. */
  readonly hear = (line: string, pid: number): void => {
    const { fn, what, id } = EVENT.exec(line)?.groups ?? {};
    if (fn === undefined || what === undefined || id === undefined) return;
    this.events++;
    const step = /^step (.+)$/.exec(what)?.[1];
    if (what !== 'executing' && step === undefined) return void this.#running.delete(id);
    const invocation = { fn: step ?? fn, pid, id };
    this.#running.set(id, invocation);
    this.#onBegin(invocation);
  };

  /** What runs in this host, or in all. */
  running(pid?: number): Invocation[] {
    return [...this.#running.values()].filter((each) => pid === undefined || each.pid === pid);
  }

  /** A host has died: what it ran runs no more. */
  forget(pid: number): void {
    for (const { id } of this.running(pid)) this.#running.delete(id);
  }
}
