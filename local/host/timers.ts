import type { ControllableClock } from '../clock/clock.ts';
import { readFileIfAny, writeFileAtomic } from '../platform/files.ts';
import type { TimerFunction } from './bindings.ts';
import { HostStoppedError, type Invoker } from './invoke.ts';
import type { HostLog } from './log.ts';
import type { RpcInvocationResponse } from './rpc.ts';

/** What is remembered of a monitored timer; ISO times, `last` undefined before its first run. */
interface TimerStatus {
  readonly schedule: string;
  readonly last: string | undefined;
  readonly next: string;
  readonly lastUpdated: string;
}

interface TimerState {
  readonly fn: TimerFunction;
  status: TimerStatus | undefined;
  /** Infinity for a schedule that never comes due again. */
  nextDueMs: number;
  running: Promise<void> | undefined;
}

export interface TimerScheduler {
  /** Moves the clock to `targetMs`, running what falls due on the way; resolves how many runs there were. */
  advanceTo(targetMs: number): Promise<number>;
  /** Starts no more runs; those that run go on. */
  stop(): void;
}

/** A process suspended or a clock file changed by hand is noticed within this time. */
const MAX_SLEEP_MS = 5_000;
/** What .NET's default DateTime prints: a timer that has never run. */
const NEVER = '0001-01-01T00:00:00+00:00';

/**
 * Runs timer functions by `clock`.
 *
 * As the clock passes, each timer runs alone: a run that takes longer than its interval swallows the runs missed meanwhile. On an
 * advance the clock stops at every due time in order, and all timers due then end before it goes on; a failing function is logged
 * and stops nothing. A monitored timer's due time is kept in `statusFile`: after a restart a missed run is made up for once, with
 * `isPastDue`. Advances run one after another.
 */
export function startTimers(options: {
  functions: readonly TimerFunction[];
  clock: ControllableClock;
  statusFile: string;
  invoker: Invoker;
  log: HostLog;
  sendOutputs: (fn: TimerFunction, response: RpcInvocationResponse) => Promise<void>;
}): TimerScheduler {
  const { clock, statusFile, invoker, log, sendOutputs } = options;
  const saved = readStatuses(statusFile);
  let isStopped = false;
  let wake: NodeJS.Timeout | undefined;
  let advance: Promise<unknown> = Promise.resolve();
  let advancing = 0;

  const save = (state: TimerState, lastMs: number | undefined): void => {
    if (!state.fn.useMonitor || state.nextDueMs === Infinity) return;
    state.status = {
      schedule: state.fn.expression,
      last: lastMs === undefined ? undefined : new Date(lastMs).toISOString(),
      next: new Date(state.nextDueMs).toISOString(),
      lastUpdated: new Date(clock.now()).toISOString(),
    };
    saved[state.fn.functionName] = state.status;
    // While the clock moves they are kept till its end: a host that dies on the way makes up for each timer once, as for any pause.
    if (advancing === 0) store();
  };
  const store = (): void => writeFileAtomic(statusFile, JSON.stringify(saved, undefined, 1));

  /** Resolves false when the host went away under the run. */
  const run = async (state: TimerState, dueMs: number, isPastDue: boolean): Promise<boolean> => {
    const { fn } = state;
    const json = JSON.stringify({
      Schedule: { AdjustForDST: true },
      ScheduleStatus: state.status && {
        Last: state.status.last ?? NEVER,
        LastUpdated: state.status.lastUpdated,
        Next: state.status.next,
      },
      IsPastDue: isPastDue,
    });
    try {
      const response = await invoker.invoke(fn.fn, { name: fn.bindingName, data: { json } }, {});
      await sendOutputs(fn, response);
    } catch (error) {
      if (error instanceof HostStoppedError) return false;
      // The invoker logs what functions throw; this line says that the schedule goes on.
      log.write(
        'debug',
        'Host.Triggers.Timer',
        fn.functionName,
        `run of ${new Date(dueMs).toISOString()}: ${String(error)}`,
      );
    }
    return true;
  };

  /** Runs one timer and then plans its next run after `after()`. */
  const fire = (state: TimerState, dueMs: number, isPastDue: boolean, after: () => number): Promise<void> => {
    const runAndPlan = async (): Promise<void> => {
      // Unfinished, the status still names this run as the next one, so that the host that comes after makes up for it.
      if (!(await run(state, dueMs, isPastDue))) return;
      state.running = undefined;
      state.nextDueMs = state.fn.schedule.next(after()) ?? Infinity;
      save(state, dueMs);
    };
    state.running = runAndPlan();
    return state.running;
  };

  const tick = (): void => {
    clearTimeout(wake);
    if (isStopped || advancing > 0 || states.length === 0) return;
    const nowMs = clock.now();
    for (const state of states) {
      if (state.running !== undefined || state.nextDueMs > nowMs) continue;
      void fire(state, state.nextDueMs, false, () => Math.max(state.nextDueMs, clock.now())).then(tick);
    }
    const idle = states.filter(({ running }) => running === undefined);
    const nextMs = Math.min(...idle.map(({ nextDueMs }) => nextDueMs));
    wake = setTimeout(tick, Math.min(Math.max(nextMs - nowMs, 1), MAX_SLEEP_MS));
  };

  const advanceTo = async (targetMs: number): Promise<number> => {
    advancing++;
    clearTimeout(wake);
    let fired = 0;
    try {
      for (const { running } of states) await running;
      for (;;) {
        if (isStopped) throw new Error('the Functions host is stopping');
        const dueMs = Math.min(...states.map(({ nextDueMs }) => nextDueMs));
        if (!(dueMs <= targetMs)) break;
        clock.advanceTo(dueMs);
        const due = states.filter(({ nextDueMs }) => nextDueMs === dueMs);
        await Promise.all(due.map((state) => fire(state, dueMs, false, () => dueMs)));
        fired += due.length;
      }
      clock.advanceTo(targetMs);
      return fired;
    } finally {
      advancing--;
      store();
      tick();
    }
  };

  const startedMs = clock.now();
  const states = options.functions.map((fn): TimerState => {
    const before = saved[fn.functionName];
    const status = fn.useMonitor && before?.schedule === fn.expression ? before : undefined;
    const nextDueMs = fn.schedule.next(startedMs) ?? Infinity;
    return { fn, status, nextDueMs, running: undefined };
  });
  for (const state of states) {
    const missedMs = state.status === undefined ? Infinity : Date.parse(state.status.next);
    const isPastDue = missedMs < startedMs;
    if (isPastDue || state.fn.runOnStartup)
      void fire(state, isPastDue ? missedMs : startedMs, isPastDue, () => clock.now()).then(tick);
    else if (missedMs === Infinity) save(state, undefined);
    else state.nextDueMs = missedMs;
  }
  tick();

  return {
    advanceTo(targetMs) {
      const next = advance.then(() => advanceTo(targetMs));
      advance = next.catch(() => undefined);
      return next;
    },
    stop() {
      isStopped = true;
      clearTimeout(wake);
    },
  };
}

function readStatuses(path: string): Record<string, TimerStatus> {
  const text = readFileIfAny(path);
  if (text === undefined) return {};
  try {
    return JSON.parse(text) as Record<string, TimerStatus>;
  } catch (error) {
    throw new Error(`the timer status file ${path} is damaged; delete it to start afresh`, { cause: error });
  }
}
