import type { SetDisk } from '../catalog/catalog.ts';
import type { PointId } from '../domain/ids.ts';
import { isSameLineage } from '../domain/lineage.ts';
import type { Manifest, PlanDisk } from '../format/documents.ts';
import type { Ports } from './ports.ts';

/** The manifests of a disk's chain, oldest first: none where it begins with this point. */
export interface Chained {
  readonly manifests: readonly Manifest[];
  readonly newest: { readonly point: PointId; readonly disk: Manifest['disks'][number] } | undefined;
  /** An earlier manifest is lost. */
  readonly anew: boolean;
}

/** Decides how the disk's changed blocks are found, and says why. `refusal` is what was found out in vain before. */
export async function chooseSource(
  ports: Ports,
  own: SetDisk,
  point: PointId,
  { newest: base, anew }: Chained,
  refusal: string | undefined,
): Promise<PlanDisk> {
  const { disk, lun, name, url, createdAt, sizeBytes, snapshot } = own;
  const found = { disk, lun, name, url, createdAt, sizeBytes, snapshot };
  if (base === undefined) {
    const reason = anew ? 'the manifest of an earlier point is lost' : 'the first recovery point of this disk';
    return { ...found, base: null, baseSizeBytes: null, begins: point, source: 'full', since: null, reason };
  }
  const { begins, trust } = base.disk;
  const based = {
    ...found,
    base: base.point,
    ...(begins && { begins }),
    ...(trust && { trust }),
    baseSizeBytes: base.disk.sizeBytes,
  };
  const why =
    refusal === undefined ? await whyNotDiff(ports, own, base.disk) : await whyRefused(ports, own, base.disk, refusal);
  return why === undefined
    ? { ...based, source: 'diff', since: base.disk.snapshot.id, reason: 'page ranges changed since the base snapshot' }
    : { ...based, source: 'hashes', since: null, reason: why };
}

async function whyNotDiff(ports: Ports, own: SetDisk, base: Manifest['disks'][number]): Promise<string | undefined> {
  if (!isSameLineage(base, own)) return 'the disk was replaced since the base snapshot';
  const { byHashes = 0 } = base.trust ?? {};
  if (byHashes > 0) {
    const further = byHashes === 1 ? '' : `, as will the next ${byHashes - 1}`;
    return `an earlier diff had left changes out; this backup goes by hashes${further}`;
  }
  if (base.snapshot.id >= own.snapshot) return 'the base snapshot is not older than this one';
  // Whether the base snapshot is there nobody asks: a server that passes the probe refuses to compare with one that is gone.
  const probe = await ports.snapshots.probeChangeTracking({ url: own.url, id: own.snapshot });
  return probe.usable ? undefined : probe.reason;
}

async function whyRefused(
  ports: Ports,
  { url }: SetDisk,
  { snapshot }: Manifest['disks'][number],
  refusal: string,
): Promise<string> {
  const isGone = (await ports.snapshots.sizeOf({ url, id: snapshot.id })) === undefined;
  return isGone ? 'the base snapshot is gone' : refusal;
}
