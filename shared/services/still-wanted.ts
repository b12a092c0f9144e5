import type { Ports } from './ports.ts';
import { type JobAddress, runningJob } from './jobs.ts';

/*
 * A unit of a gigabyte takes from seconds to minutes, and whoever cancels its job wants it to stop before that. Its handler asks between two
 * pieces of work, and not more often than every few seconds, since each question reads the job's row.
 */

/** Seconds pass between two looks at the job: a cancelled unit goes on for no longer, and a piece of 8 MiB. */
const LOOK_MS = 3_000;

/** The job of a unit has ended, or has another plan: what the unit has written so far nobody will name, and the sweep takes it. */
export class UnitUnwanted extends Error {
  override readonly name = 'UnitUnwanted';
}

/** What units ask while they work. */
export interface Probing {
  /** @throws UnitUnwanted when the job wants no more of it */
  readonly stillWanted?: (() => Promise<void>) | undefined;
}

/** Asks for the job whose plan `attempt` is, from a few seconds after now. One question is out at a time. */
export function stillWanted(ports: Ports, address: JobAddress, attempt: string): () => Promise<void> {
  let lookedAt = ports.clock.now();
  let isOver = false;
  return async () => {
    if (!isOver && ports.clock.now() - lookedAt >= LOOK_MS) {
      lookedAt = ports.clock.now();
      isOver = (await runningJob(ports, address, attempt)) === undefined;
    }
    if (isOver) throw new UnitUnwanted(`job ${address.jobId} wants no more of its plan ${attempt}`);
  };
}
