import { CLEARED, type Extent, type ExtentMap, intersect, interleave, subtract } from './extent.ts';

/**
 * Folds an expired layer into its successor in the same region: for every block the newer one wins.
 *
 * Both maps ascend by `start` without overlap and refer to one frame table; so do the results. Neither input is modified.
 * `lost` is what of `older` was stored and no recovery point can see any more: its bytes may be reclaimed once `merged` is
 * committed. With `bottom`, nothing lies below `older`, so cleared extents say nothing that absence would not and are left out.
 * Time and memory: O(older + newer).
 */
export function fold(older: ExtentMap, newer: ExtentMap, bottom = false): { merged: Extent[]; lost: Extent[] } {
  const merged = interleave(subtract(older, newer), newer);
  const lost = intersect(older, newer).filter((extent) => extent.frame !== CLEARED);
  return { merged: bottom ? merged.filter((extent) => extent.frame !== CLEARED) : merged, lost };
}
