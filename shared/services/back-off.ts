/** The longest that a coordinator waits between two looks. Less than the quarter of an hour after which the watch takes a job for dead. */
const MOST_SECONDS = 120;

/**
 * Seconds until a coordinator looks again, after `round` looks: every second at first, so that small jobs end at once, then about a
 * fifth of the time that has passed, so that a job ends at most that much late, and at most every two minutes: a first backup of a week is
 * looked at 5,000 times, each a handful of requests.
 */
export function backOffSeconds(round: number): number {
  return Math.min(MOST_SECONDS, Math.ceil(1.2 ** Math.max(0, round - 4)));
}

/** Seconds that a coordinator has waited in its last `looks` looks, after `round` of them. */
export function waitedSeconds(round: number, looks: number): number {
  let seconds = 0;
  for (let look = Math.max(0, round - looks); look < round; look++) seconds += backOffSeconds(look);
  return seconds;
}
