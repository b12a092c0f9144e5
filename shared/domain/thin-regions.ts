import type { Layout } from './layout.ts';
import { BLOCK_BYTES } from './units.ts';

/** A region that a plan has to write, with the most that its new blocks can take, unpacked. */
interface RegionWork {
  readonly region: number;
  readonly bytes: number;
  /** What is looked at besides: in the worst case all of it has changed. */
  readonly audit?: { readonly blocks: number } | undefined;
}

/** Most unpacked bytes of the regions that share a slab: packed it is no larger. */
const SLAB_BYTES = 16 * 1024 * 1024;
/** Most regions of a slab: for each, the one who writes it reads what the region has. */
const SLAB_REGIONS = 64;

/** Regions that are written as one object: a slab where `thin`, else the layer of the one region. */
export interface RegionGroup<Work> {
  readonly thin: boolean;
  readonly regions: readonly Work[];
}

/**
 * Puts consecutive thin regions together, up to what a slab holds, and never across the end of a span: a manifest's parts end there, and
 * whoever looks at one span sees all of its slabs' shares. `regions` ascend; each group does, and so do the groups' firsts.
 */
export function groupThin<Work extends RegionWork>(
  regions: readonly Work[],
  layout: Pick<Layout, 'thinBytes' | 'spanRegions'>,
): RegionGroup<Work>[] {
  return group(regions, { ...layout, mostBytes: SLAB_BYTES });
}

/** A region with this share of what a message restores, or more, is work enough for one. */
const WHOLE_SHARE = 4;

/**
 * The regions that one message restores. A whole region of 1 GiB is work for one; small ones would be mostly requests about the
 * job, its plan and the unit's mark, so they go together, up to `restoreBytes` and as many regions as a slab has. `regions` ascend; each
 * group does, and so do the groups' firsts.
 */
export function groupForRestore<Work extends RegionWork>(
  regions: readonly Work[],
  { restoreBytes, spanRegions }: Pick<Layout, 'restoreBytes' | 'spanRegions'>,
): (readonly Work[])[] {
  const thinBytes = Math.ceil(restoreBytes / WHOLE_SHARE) - 1;
  return group(regions, { thinBytes, spanRegions, mostBytes: restoreBytes }).map((own) => own.regions);
}

function group<Work extends RegionWork>(
  regions: readonly Work[],
  { thinBytes, spanRegions, mostBytes }: Pick<Layout, 'thinBytes' | 'spanRegions'> & { readonly mostBytes: number },
): RegionGroup<Work>[] {
  const groups: { thin: boolean; regions: Work[]; bytes: number }[] = [];
  const spanOf = ({ region }: Work): number => Math.floor(region / spanRegions);
  let open: (typeof groups)[number] | undefined;
  for (const work of regions) {
    if (open !== undefined && spanOf(open.regions[0]!) !== spanOf(work)) open = undefined;
    const bytes = work.bytes + (work.audit?.blocks ?? 0) * BLOCK_BYTES;
    // What is audited seldom turns out to be new: it makes no region thick, as long as a slab could take it.
    const thin = work.bytes <= thinBytes && bytes <= mostBytes;
    if (thin && open !== undefined && open.regions.length < SLAB_REGIONS && open.bytes + bytes <= mostBytes) {
      open.regions.push(work);
      open.bytes += bytes;
      continue;
    }
    const fresh = { thin, regions: [work], bytes };
    groups.push(fresh);
    if (thin) open = fresh;
  }
  return groups;
}
