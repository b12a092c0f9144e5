import type { AttemptId, DiskId, ItemId, PointId } from '../../shared/domain/ids.ts';
import type { Manifest, ManifestDisk, ManifestRegion } from '../../shared/format/documents.ts';
import type { Chain } from '../../shared/services/chain.ts';
import { regionsOf } from '../../shared/services/spans.ts';

/* Manifests as points have them, without a vault behind them. */

/** What a manifest says of a region with one layer, whose counts tell the region. */
export const entry = (region: number, own: { point: PointId; attempt: AttemptId }): ManifestRegion => ({
  region,
  layers: [
    { ...own, dataBlocks: region + 1, clearedBlocks: region, storedBytes: 101 + region, liveBytes: 100 + region },
  ],
});

export function manifestOf(
  item: ItemId,
  { point, attempt }: { point: PointId; attempt: AttemptId },
  disks: Readonly<Record<string, ManifestRegion[]>>,
): Manifest {
  return {
    format: 2,
    item,
    point,
    attempt,
    time: '2026-01-01T12:00:00.000Z',
    trigger: 'onDemand',
    dueAt: null,
    retainUntil: null,
    consistency: 'CrashConsistent',
    vm: { id: '/vm', vmId: 'v', name: 'vm', resourceGroup: 'app', location: 'here', size: 's', osType: 'Linux' },
    lacking: [],
    disks: Object.entries(disks).map(([disk, regions], i) => ({
      disk: disk as DiskId,
      lun: i - 1,
      name: disk,
      url: `https://disks.example/${disk}.vhd`,
      createdAt: '2026-01-01T00:00:00.000Z',
      sizeBytes: 2 ** 40,
      snapshot: { id: 's', attempt },
      regions,
    })),
  };
}

/** A manifest with all that its parts say. */
export async function whole(chain: Chain, manifest: Manifest): Promise<Manifest> {
  const disks: ManifestDisk[] = [];
  for (const { parts, ...own } of manifest.disks)
    disks.push(
      parts === undefined
        ? own
        : { ...own, regions: await regionsOf(chain, { ...own, parts }, { from: 0, to: Infinity }) },
    );
  return { ...manifest, disks };
}
