/** What a sweep has found, read in this order: the names first, then the jobs that have not ended, then the newest record. */
export interface SweepFindings {
  /** Everything that lies in the item's folder, the chain itself left out. */
  readonly names: readonly string[];
  /** What no sweep may touch: named by the newest record, or by the plan of a job that has not ended. */
  readonly named: ReadonlySet<string>;
  /** Whether the name was made for a plan of a job that has not ended: its leftovers may yet be committed. */
  readonly isInFlight: (name: string) => boolean;
  /** When each name was first seen without a name, by earlier sweeps. */
  readonly marks: ReadonlyMap<string, number>;
  readonly nowMs: number;
  readonly graceMs: number;
}

export interface SweepDecision {
  /** Seen for the first time: looked at again after the grace. */
  readonly mark: readonly string[];
  /** Named or in flight again, or gone. */
  readonly unmark: readonly string[];
  /** Marked for longer than the grace, while its job had ended already. */
  readonly remove: readonly string[];
}

/**
 * Decides what a sweep of leftovers does. A name is marked only once its job has ended, so the grace runs after both. Marks are
 * by our own clock alone: the times of blobs are the storage's.
 */
export function decideSweep({ names, named, isInFlight, marks, nowMs, graceMs }: SweepFindings): SweepDecision {
  const candidates = names.filter((name) => !named.has(name) && !isInFlight(name));
  const present = new Set(candidates);
  return {
    mark: candidates.filter((name) => !marks.has(name)),
    unmark: [...marks.keys()].filter((name) => !present.has(name)),
    remove: candidates.filter((name) => nowMs - (marks.get(name) ?? nowMs) > graceMs),
  };
}
