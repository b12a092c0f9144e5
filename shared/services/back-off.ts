/**
 * Seconds until a coordinator looks again, after `round` looks: every second at first, so that small jobs end at once, then about a
 * fifth of the time that has passed, and at most every half minute.
 */
export function backOffSeconds(round: number): number {
  return Math.min(30, Math.ceil(1.2 ** Math.max(0, round - 4)));
}
