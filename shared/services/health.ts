/** Something outside without which nothing works. */
export interface Probe {
  readonly name: string;
  /** Settles as soon as it is known whether it answers, or when `signal` says that it has taken too long. */
  readonly check: (signal: AbortSignal) => Promise<unknown>;
}

export interface ProbeResult {
  readonly name: string;
  readonly ok: boolean;
  readonly elapsedMs: number;
  /** What went wrong, in a few words for operators; may have secrets in it. */
  readonly problem?: string;
}

export interface Health {
  readonly ok: boolean;
  /** When it was looked at, by the process's own watch. */
  readonly at: number;
  readonly results: readonly ProbeResult[];
}

/** Anybody may ask: within this time all get the same answer, so that asking often costs the storage nothing. */
export const SAME_ANSWER_MS = 5_000;
/** A storage that is well answers in some ten milliseconds; who watches gives up soon. */
export const PROBE_TIMEOUT_MS = 3_000;

/** How the app is: asks all probes at once, each for `timeoutMs` at most. `now` is a watch in milliseconds that nobody sets. */
export function healthOf(
  probes: readonly Probe[],
  { now, timeoutMs = PROBE_TIMEOUT_MS }: { now: () => number; timeoutMs?: number },
): () => Promise<Health> {
  let last: Health | undefined;
  let asking: Promise<Health> | undefined;
  const ask = async (): Promise<Health> => {
    const results = await Promise.all(probes.map((probe) => tried(probe, now, timeoutMs)));
    return { ok: results.every(({ ok }) => ok), at: now(), results };
  };
  return async () => {
    if (last !== undefined && now() - last.at < SAME_ANSWER_MS) return last;
    asking ??= ask().finally(() => (asking = undefined));
    last = await asking;
    return last;
  };
}

/** A probe that does not listen to its signal is left to itself. */
async function tried({ name, check }: Probe, now: () => number, timeoutMs: number): Promise<ProbeResult> {
  const begun = now();
  const signal = AbortSignal.timeout(timeoutMs);
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`no answer within ${timeoutMs} ms`)), { once: true });
  });
  try {
    await Promise.race([check(signal), late]);
    return { name, ok: true, elapsedMs: Math.round(now() - begun) };
  } catch (error) {
    const { code, statusCode, message } = error as { code?: string; statusCode?: number; message?: string };
    const problem = [statusCode, code, message?.split('\n')[0]].filter((part) => part !== undefined).join(' ');
    return { name, ok: false, elapsedMs: Math.round(now() - begun), problem };
  }
}
