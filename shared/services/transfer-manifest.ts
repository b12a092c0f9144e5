import type { JobRow, SetDisk, SnapshotSet } from '../catalog/catalog.ts';
import { type Churn, addChurn, noChurn } from '../domain/churn.ts';
import type { Layout } from '../domain/layout.ts';
import { type ManifestRegion, type RecordPoint, type TransferPlan, transferPlan } from '../format/documents.ts';
import { checkpointName } from '../format/names.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { churnOf, trustOf } from './churn-report.ts';
import { type ManifestHead, ManifestWriter } from './manifest-writer.ts';
import { inOrder } from './pipeline.ts';
import { partsOf } from './plans.ts';
import { type Written, totalsIn } from './projection.ts';
import { transferObject } from './transfer-unit.ts';
import { type UnitObject, finishedObjects, layersIn, objectName } from './unit-objects.ts';

/** Objects whose contents are looked at at once. */
const READS_IN_FLIGHT = 8;

/** What a unit has come to: what it has met, and its one object; none where it has been found on the spot that nothing had changed. */
export interface UnitResult {
  readonly summary: BlobInfo['summary'];
  readonly object?: BlobInfo;
}

/** What the units of a part of a plan have come to, by the names of their objects: those that there are. */
export async function finishedUnits(container: VaultContainer, part: TransferPlan): Promise<Map<string, UnitResult>> {
  const objects = await finishedObjects(container, objectsOf(part));
  return new Map([...objects].map(([name, object]) => [name, { summary: object.summary, object }]));
}

/** The objects that the units of a plan write. */
const objectsOf = (part: TransferPlan): UnitObject[] => part.units.map((unit) => transferObject(part, unit));

/**
 * Writes the manifest of what the units have found, span by span; `resultsOf` tells of a part of the plan what its units have come to.
 * `empty` are the objects in which there is nothing, `churn` is what was met on each disk. Undefined when an object is missing.
 */
export async function writeManifest(
  container: VaultContainer,
  chain: Chain,
  plan: TransferPlan,
  layout: Layout,
  resultsOf: (part: TransferPlan) => Promise<ReadonlyMap<string, UnitResult>>,
  headOf: (churn: readonly Churn[]) => ManifestHead,
): Promise<{ entry: RecordPoint; empty: string[]; written: Written } | undefined> {
  const writer = new ManifestWriter(chain, plan, layout);
  const empty: string[] = [];
  const churn = plan.disks.map(() => noChurn());
  for await (const { part } of partsOf(container, plan, transferPlan)) {
    const results = await resultsOf(part);
    for (const [index, own] of churnOf(part, results).entries()) addChurn(churn[index]!, own);
    const regions: Regions[] = part.disks.map(() => []);
    for await (const { item: unit, result } of inOrder(part.units, READS_IN_FLIGHT, (each) =>
      transferred(container, part, each, results.get(objectName(transferObject(part, each)))),
    )) {
      if (result === undefined) return undefined;
      const name = objectName(transferObject(part, unit));
      if (result.length === 0 && results.get(name)?.object !== undefined) empty.push(name);
      regions[unit.disk]!.push(...result);
    }
    for (const [index, own] of regions.entries()) {
      const { disk } = part.disks[index]!;
      own.sort((a, b) => a.region - b.region);
      const bySpan = Map.groupBy(own, ({ region }) => Math.floor(region / layout.spanRegions));
      for (const span of bySpan.values()) await writer.add(disk, span);
    }
  }
  const entry = await writer.finish(headOf(churn));
  return { entry, empty, written: { manifest: entry.manifest, totals: totalsIn(writer.sum) } };
}

type Regions = ManifestRegion[];

/** What one unit has found: its changed regions. Undefined when its object is not there. */
async function transferred(
  container: VaultContainer,
  plan: TransferPlan,
  unit: TransferPlan['units'][number],
  result: UnitResult | undefined,
): Promise<Regions | undefined> {
  if (result === undefined) return undefined;
  if (result.object === undefined) return [];
  const found = await layersIn(container, transferObject(plan, unit), result.object);
  const own = unit.regions.filter(({ region }) => found.has(region));
  return Promise.all(
    own.map(async (work) => {
      const checkpoint = work.writeCheckpoint ? await checkpointOf(container, plan, unit.disk, work.region) : undefined;
      return { region: work.region, layers: [found.get(work.region)!], ...(checkpoint && { checkpoint }) };
    }),
  );
}

/** The checkpoint that the region's unit has written. */
async function checkpointOf(
  container: VaultContainer,
  plan: TransferPlan,
  disk: number,
  region: number,
): Promise<Regions[number]['checkpoint']> {
  const { attempt } = plan;
  const blob = await container.stat(checkpointName(plan.item, plan.disks[disk]!.disk, region, attempt));
  return blob && { attempt, depth: Number(blob.summary['depth']), stack: blob.summary['stack']! };
}

/** What the manifest of a plan says besides its regions. */
export function manifestHead(plan: TransferPlan, job: JobRow, set: SnapshotSet, churn: readonly Churn[]): ManifestHead {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    item: plan.item,
    point: plan.point,
    attempt: plan.attempt,
    time: new Date(set.takenAt).toISOString(),
    trigger: job.dueAt === undefined ? 'onDemand' : 'scheduled',
    dueAt: iso(job.dueAt),
    retainUntil: iso(job.retainUntil),
    consistency: 'CrashConsistent',
    vm: set.vm,
    lacking: set.lacking,
    disks: plan.disks.map((own, index) => {
      const { disk, lun, name, url, createdAt, sizeBytes, begins, snapshot } = own;
      return {
        disk,
        lun,
        name,
        url,
        createdAt,
        sizeBytes,
        ...(begins && { begins }),
        snapshot: { id: snapshot, attempt: plan.set },
        ...managedOf(set, disk),
        trust: trustOf(own, churn[index]!),
      };
    }),
  };
}

/** What the set says of a managed disk. */
function managedOf({ disks }: SnapshotSet, disk: string): { managed?: NonNullable<SetDisk['managed']> } {
  const managed = disks.find((each) => each.disk === disk)?.managed;
  return managed === undefined ? {} : { managed };
}
