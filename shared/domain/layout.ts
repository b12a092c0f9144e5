/** How layers are laid out: none of it changes what a point shows, so it may differ from one run to the next. */
export interface Layout {
  /** A region with no more new bytes than this is thin: a layer file and a pack of its own would be mostly requests. Below 0: none is. */
  readonly thinBytes: number;
  /**
   * A layer is folded with what lies above it in its point's list once that speaks of more than 1/foldRatio as many blocks. A fold
   * rewrites about 48 bytes of map for each block, and may free 16 KiB for each block above: at 64 it never costs more than a fifth of
   * what it can free, overwritten blocks take at most a 64th of the layer's, and a list has at most 4 layers, since a region has
   * 65,536 blocks.
   */
  readonly foldRatio: number;
  /** A checkpoint is written once so many layers have come upon the last one, or they speak of half as many blocks as a region has. */
  readonly checkpointDepth: number;
  /** Consecutive regions that are planned and named together, so that no plan and no manifest is ever held whole. Slabs end where spans do. */
  readonly spanRegions: number;
  /** Small regions, of less than a quarter of this, are restored by one message up to so many bytes. Below 0: each by a message of its own. */
  readonly restoreBytes: number;
  /** A manifest of no more regions than this has no parts. */
  readonly inlineRegions: number;
  /** Most names of objects that a sweep looks at together: it goes through a folder piece by piece. One region's are never parted. */
  readonly namesAtOnce: number;
}

export const PRODUCTION_LAYOUT: Layout = {
  thinBytes: 1024 * 1024,
  foldRatio: 64,
  checkpointDepth: 8,
  spanRegions: 1024,
  restoreBytes: 16 * 1024 * 1024,
  inlineRegions: 256,
  namesAtOnce: 32_768,
};
