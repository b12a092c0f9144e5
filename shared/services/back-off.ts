/** Seconds until a coordinator looks again: soon at first, so that small jobs end at once, then at most every half minute. */
export function backOffSeconds(round: number): number {
  return Math.min(30, Math.ceil(1.5 ** Math.max(0, round - 2)));
}
