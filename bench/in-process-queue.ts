import { setTimeout as sleep } from 'node:timers/promises';
import type { Step } from '../shared/queue/steps.ts';
import type { WorkQueue } from '../shared/queue/work-queue.ts';

/**
 * The work queue of a bench: steps wait in this process and several run at once, so that neither polling nor the queue service is
 * measured. A delayed step comes when it is due, or as soon as nothing else is left to do: what it would still have waited then
 * is counted instead of spent.
 */
export interface InProcessQueue extends WorkQueue {
  /** Runs steps until none is left. The first failure ends it, when the steps in flight have ended. */
  drain(run: (step: Step) => Promise<void>): Promise<{ steps: number; skippedWaitMs: number }>;
}

export function inProcessQueue(inFlight: number): InProcessQueue {
  const waiting: { step: Step; dueMs: number }[] = [];

  const take = (): Step | undefined => {
    const now = performance.now();
    const at = waiting.findIndex(({ dueMs }) => dueMs <= now);
    return at < 0 ? undefined : waiting.splice(at, 1)[0]!.step;
  };

  return {
    async send(step, delaySeconds = 0) {
      waiting.push({ step: structuredClone(step), dueMs: performance.now() + delaySeconds * 1_000 });
    },
    async drain(run) {
      const running = new Set<Promise<void>>();
      let steps = 0;
      let skippedWaitMs = 0;
      for (;;) {
        const step = running.size < inFlight ? take() : undefined;
        if (step !== undefined) {
          steps += 1;
          const done: Promise<void> = run(step).finally(() => running.delete(done));
          done.catch(() => undefined); // met by the race below
          running.add(done);
        } else if (running.size > 0) {
          const due = Math.min(...waiting.map(({ dueMs }) => dueMs));
          const room = running.size < inFlight && due !== Infinity;
          const end = new AbortController();
          const timer = room
            ? [sleep(Math.max(1, due - performance.now()), undefined, { signal: end.signal }).catch(() => undefined)]
            : [];
          await Promise.race([...running, ...timer]);
          end.abort();
        } else {
          const next = waiting.toSorted((a, b) => a.dueMs - b.dueMs)[0];
          if (next === undefined) return { steps, skippedWaitMs };
          const early = Math.max(0, next.dueMs - performance.now());
          skippedWaitMs += early;
          for (const message of waiting) message.dueMs -= early;
        }
      }
    },
  };
}
