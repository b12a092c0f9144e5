import type { JobRow } from '../catalog/catalog.ts';
import { type AttemptId, type DiskId, type PointId, attemptId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import { decideMerge } from '../domain/merge.ts';
import { groupThin } from '../domain/thin-regions.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import type { ChainRecord, Manifest, MergePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { openFindings } from './findings.ts';
import { foldedBytes } from './fold-unit.ts';
import { type JobAddress, noteAttempt } from './jobs.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import type { Ports } from './ports.ts';
import { spansOf, within } from './spans.ts';

/** Merge plans, as they are written. */
const MERGE: PlanKind<MergePlan> = {
  join: (one, next) => ({ ...one, entries: [...one.entries, ...next.entries], units: [...one.units, ...next.units] }),
  weight: ({ entries, units }) =>
    entries.reduce((sum, { kept }) => sum + 1 + kept.length, 0) +
    units.reduce((sum, { folds }) => folds.reduce((own, { layers }) => own + 1 + layers.length, sum), 0),
  bytes: foldedBytes,
};

interface Planning {
  readonly container: VaultContainer;
  readonly chain: Chain;
  /** Of the item's findings. */
  readonly partition: string;
  readonly job: JobRow & { readonly point: PointId };
  readonly record: ChainRecord;
  /** The attempt that stands on the job. */
  readonly noted: { attempt: AttemptId | undefined };
}

/**
 * Makes the plan of a merge on `record` span by span and stores it, once its attempt stands on the job; undefined when another run's
 * does. A point whose manifest is lost leaves when nobody looks through to it any more.
 * @throws BackupError VaultObjectMissing, DocumentCorrupt when a manifest that it takes is lost
 */
export async function makeMergePlan(
  ports: Ports,
  address: JobAddress,
  { container, chain, partition, job, record, noted }: Planning,
): Promise<MergePlan | undefined> {
  const { layout } = ports.settings;
  const plan: MergePlan = {
    format: 1,
    kind: 'merge',
    spanRegions: layout.spanRegions,
    item: job.itemId,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    seq: record.seq,
    point: job.point,
    entries: [],
    units: [],
  };
  const writer = new PlanWriter<MergePlan>(container, MERGE, PART_SPANS * layout.spanRegions, async () => {
    if (!(await noteAttempt(ports, address, plan.attempt, noted.attempt, record.seq))) return false;
    noted.attempt = plan.attempt;
    return true;
  });
  const live = await chain.readable(record);
  const cannotFold = await damagedRegions(ports, partition);
  for (const { disk, points, below } of successions(plan.point, live)) {
    const ends = points.slice(-2); // the expired point and the one after it
    for (const span of spansOf(disk, ends, layout)) {
      const piece = planSpan(plan, disk, await within(chain, points, disk, span), layout, cannotFold, below);
      if (piece.entries.length > 0 && !(await writer.add(piece))) return undefined;
    }
  }
  return writer.finish(plan);
}

/** Regions with a damaged layer that some point shows: they are kept as they are, until a backup has healed them. */
async function damagedRegions(ports: Ports, partition: string): Promise<ReadonlySet<string>> {
  const touching = (await openFindings(ports, partition)).filter(
    ({ row }) => row.points.length > 0 && row.kind !== 'stale',
  );
  return new Set(touching.map(({ row }) => `${row.disk}/${row.region}`));
}

/** A disk of the expired point whose layers go into the next point that includes it. */
interface Succession {
  readonly disk: DiskId;
  /** Up to that point, which is the last; the one before it is the expired one. Some before may be lost. */
  readonly points: readonly Manifest[];
  /** Points of the disk's chain before the expired one are lost: nobody knows what lies below. */
  readonly below: 'known' | 'lost';
}

/** @throws BackupError where a lost manifest may be the next point's, or the expired point's itself while others build on it */
function successions(expired: PointId, { manifests, lost }: Awaited<ReturnType<Chain['readable']>>): Succession[] {
  const gone = manifests.find(({ point }) => point === expired);
  const later = manifests.filter(({ point }) => point > expired);
  const lostLater = lost.filter(({ point }) => point > expired);
  if (gone === undefined) {
    const own = lost.find(({ point }) => point === expired)!;
    const isBuiltOn = later.some(({ disks }) => disks.some(({ begins }) => (begins ?? expired) <= expired));
    if (isBuiltOn || lostLater.length > 0) throw own.error;
    return [];
  }
  return gone.disks.flatMap(({ disk, begins: first }): Succession[] => {
    const next = later.find(({ disks }) => disks.some((own) => own.disk === disk));
    const begins = next?.disks.find((own) => own.disk === disk)?.begins ?? expired;
    if (next !== undefined && begins > expired) return []; // nobody looks through to this point's layers
    const between = lostLater.find(({ point }) => next === undefined || point < next.point);
    if (between !== undefined) throw between.error;
    if (next === undefined) return [];
    const isLostBelow = lost.some(({ point }) => point < expired && point >= (first ?? point));
    const includes = ({ disks }: Manifest): boolean => disks.some((own) => own.disk === disk);
    const points = manifests.filter((own) => own.point <= next.point && includes(own));
    return [{ disk, points, below: isLostBelow ? 'lost' : 'known' }];
  });
}

/** What the merge does in one span of a disk. */
function planSpan(
  plan: MergePlan,
  disk: DiskId,
  points: readonly Manifest[],
  layout: Layout,
  cannotFold: ReadonlySet<string>,
  below: Succession['below'],
): MergePlan {
  const regions = decideMerge(plan.point, points, layout, (_, region) => cannotFold.has(`${disk}/${region}`));
  const folds = regions
    .filter(({ folded }) => folded.length > 0)
    .map((own) => ({ ...own, bytes: own.folded.reduce((sum, layer) => sum + layer.dataBlocks, 0) * BLOCK_BYTES }));
  return {
    ...plan,
    entries: regions.map(({ region, into, kept, checkpoint }) => ({ disk, region, into, kept: [...kept], checkpoint })),
    units: groupThin(folds, layout).map((group) => ({
      disk,
      into: group.regions[0]!.into,
      slab: group.thin ? group.regions[0]!.region : null,
      folds: group.regions.map(({ region, folded, bottom }) => ({
        region,
        layers: [...folded],
        bottom: bottom && below === 'known',
      })),
    })),
  };
}
