import { type Extent, type ExtentMap, interleave, subtract } from './extent.ts';

/**
 * Puts a newer map over an older one: where both speak of a block, the newer wins. Both refer to one frame table.
 * Neither input is modified. O(older + newer).
 */
export function overlay(older: ExtentMap, newer: ExtentMap): Extent[] {
  return interleave(subtract(older, newer), newer);
}

/**
 * What a region looks like above `stack`, oldest layer first: for each block the newest layer that speaks of it. A block that
 * no layer speaks of reads as zeros, exactly as one in a cleared extent.
 */
export function view(stack: readonly ExtentMap[]): Extent[] {
  return stack.reduce<Extent[]>((below, layer) => overlay(below, layer), []);
}
