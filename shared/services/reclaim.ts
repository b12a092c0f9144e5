import type { z } from 'zod';
import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, type DiskId, type JobId, attemptId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { Layout } from '../domain/layout.ts';
import type { LayerName } from '../domain/point-stack.ts';
import {
  type ChainRecord,
  type Manifest,
  type ReclaimPlan,
  type RecordPoint,
  reclaimPlan,
} from '../format/documents.ts';
import { checkpointName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { readJob } from './jobs.ts';
import { type RegionOf, blobOf, readLayerMap } from './layers.ts';
import { deleteOrOwe } from './owed-delete.ts';
import { inOrder } from './pipeline.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import { type PartedPlan, deletePlan, namesOfPlan, partsOf, readPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { type Span, disksOf, spansOf, within } from './spans.ts';
import { type UnitObject, objectName } from './unit-objects.ts';
import { openVault } from './vault-of.ts';

/*
 * What a commit has left without a name is the difference of two records: manifests that only the older one names, and what only
 * those lead to. It is written down as a plan first, and deleted after a grace, in the reverse of the order in which it was written.
 */

/** Layers whose maps are read at once. */
const READS_IN_FLIGHT = 8;

/** It was made on record `seq` and committed as the next one. */
interface CommittedPlan extends PartedPlan {
  readonly job: JobId;
  readonly seq: number;
}

/** A committed plan that has replaced something. */
interface Replaced<Plan> {
  readonly plan: Plan;
  readonly schema: z.ZodType<Plan>;
  /** What the units of a part have written: what the new record does not lead to goes too. */
  readonly objects: (part: Plan) => UnitObject[];
}

/** Reclaim plans, as they are written. */
const RECLAIM: PlanKind<ReclaimPlan> = {
  join: (one, next) => ({ ...one, units: [...one.units, ...next.units] }),
  weight: ({ units }) => units.length,
  bytes: () => 0,
};

/** Writes down what is to be deleted, under `attempt`. Where another run has done so, that run's list stands. */
export async function planReclaim<Plan extends CommittedPlan>(
  container: VaultContainer,
  layout: Layout,
  replaced: Replaced<Plan>,
  attempt: AttemptId,
): Promise<void> {
  const { item, job } = replaced.plan;
  const empty: ReclaimPlan = { format: 1, kind: 'reclaim', item, attempt, job, units: [] };
  const writer = new PlanWriter<ReclaimPlan>(container, RECLAIM, PART_SPANS * layout.spanRegions, async () => true);
  for await (const names of unnamed(container, layout, replaced)) await writer.add({ ...empty, units: names });
  await writer.finish(empty);
}

/** What the new record does not lead to any more, in the order in which it is to be deleted. */
async function* unnamed<Plan extends CommittedPlan>(
  container: VaultContainer,
  layout: Layout,
  { plan, schema, objects }: Replaced<Plan>,
): AsyncGenerator<string[]> {
  const chain = new Chain(container, plan.item);
  const [before, after] = await Promise.all([chain.record(plan.seq), chain.record(plan.seq + 1)]);
  const replaced = namedOnlyBy(before, after);
  const standing = namedOnlyBy(after, before);
  const [old, fresh] = await Promise.all([readThere(chain, replaced), readThere(chain, standing)]);
  const isWhole = old.length === replaced.length && fresh.length === standing.length;
  yield [...namesOfPlan(plan).reverse(), ...replaced.map(({ manifest }) => manifest)];
  // Later commits and their reclaims have been here: this is a late run, and the first one's list has been done.
  if (!isWhole) return;
  yield [...partNames(old).difference(partNames(fresh))];
  // Two manifests that both stand name the same slab only within a disk: slabs are told apart there, whatever their spans.
  for (const disk of disksOf([...old, ...fresh])) {
    const slabs = { old: new Set<string>(), fresh: new Set<string>() };
    for (const span of spansOf(disk, [...old, ...fresh], layout)) {
      const seen = await bothWithin(chain, old, fresh, disk, span);
      if (seen === undefined) return;
      yield await unnamedIn(container, seen.old, seen.fresh, slabs);
    }
    yield [...slabs.old.difference(slabs.fresh)];
  }
  for await (const { part } of partsOf(container, plan, schema)) yield await unusedOf(chain, fresh, objects(part));
}

/** What old and new manifests say of a span; undefined when a part of one is gone by now, as above, or damaged: the sweep takes the rest. */
async function bothWithin(
  chain: Chain,
  old: readonly Manifest[],
  fresh: readonly Manifest[],
  disk: DiskId,
  span: Span,
): Promise<{ old: Manifest[]; fresh: Manifest[] } | undefined> {
  try {
    return { old: await within(chain, old, disk, span), fresh: await within(chain, fresh, disk, span) };
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing', 'DocumentCorrupt')) return undefined;
    throw error;
  }
}

const partNames = (manifests: readonly Manifest[]): Set<string> =>
  new Set(manifests.flatMap(({ disks }) => disks.flatMap(({ parts = [] }) => parts.map(({ name }) => name))));

function namedOnlyBy(record: ChainRecord, other: ChainRecord): RecordPoint[] {
  const named = new Set(other.points.map(({ manifest }) => manifest));
  return record.points.filter(({ manifest }) => !named.has(manifest));
}

/**
 * Layers and checkpoints of a span of `replaced` manifests that `standing` ones do not lead to, and packs that no layer uses any
 * more. The slabs of either are added to `slabs`.
 */
async function unnamedIn(
  container: VaultContainer,
  replaced: readonly Manifest[],
  standing: readonly Manifest[],
  slabs: { old: Set<string>; fresh: Set<string> },
): Promise<string[]> {
  const oldLayers = layersOf(replaced);
  const freshLayers = layersOf(standing);
  for (const { at, layer } of oldLayers.values()) if (layer.slab !== undefined) slabs.old.add(blobOf(at, layer));
  for (const { at, layer } of freshLayers.values()) if (layer.slab !== undefined) slabs.fresh.add(blobOf(at, layer));
  const gone = [...oldLayers.values()].filter((own) => !freshLayers.has(keyOf(own)) && own.layer.slab === undefined);
  const added = [...freshLayers.values()].filter((own) => !oldLayers.has(keyOf(own)) && own.layer.slab === undefined);
  const used = await packsOf(container, added);
  // Packs whose layer cannot be read are left to the sweep: it deletes nothing while it cannot see all that is named.
  const packs = used.all ? (await packsOf(container, gone)).names : new Set<string>();
  return [
    ...checkpointsOf(replaced).difference(checkpointsOf(standing)),
    ...gone.map(({ at, layer }) => blobOf(at, layer)),
    ...packs.difference(used.names),
  ];
}

/** Objects that units have written and that no manifest came to name: folds of which nothing was left. */
async function unusedOf(chain: Chain, fresh: readonly Manifest[], made: readonly UnitObject[]): Promise<string[]> {
  const kept = new Set<string>();
  for (const [disk, own] of Map.groupBy(made, (each) => each.disk)) {
    const regions = own.flatMap((each) => each.regions);
    const span = { from: Math.min(...regions), to: Math.max(...regions) + 1 };
    for (const { at, layer } of layersOf(await within(chain, fresh, disk, span)).values()) kept.add(blobOf(at, layer));
  }
  return made.map(objectName).filter((name) => !kept.has(name));
}

async function readThere(chain: Chain, entries: readonly RecordPoint[]): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const entry of entries) {
    try {
      manifests.push(await chain.manifest(entry));
    } catch (error) {
      if (!isBackupError(error, 'VaultObjectMissing', 'DocumentCorrupt')) throw error;
    }
  }
  return manifests;
}

interface PlacedLayer {
  readonly at: RegionOf;
  readonly layer: LayerName;
}

const keyOf = ({ at, layer }: PlacedLayer): string =>
  `${at.disk}/${at.region}/${layer.point}.${layer.attempt}.${layer.slab?.number ?? ''}`;

function layersOf(manifests: readonly Manifest[]): Map<string, PlacedLayer> {
  const layers = new Map<string, PlacedLayer>();
  for (const { item, disks } of manifests) {
    for (const { disk, regions } of disks) {
      for (const { region, layers: own } of regions) {
        for (const layer of own) {
          const placed = { at: { item, disk, region }, layer };
          layers.set(keyOf(placed), placed);
        }
      }
    }
  }
  return layers;
}

function checkpointsOf(manifests: readonly Manifest[]): Set<string> {
  return new Set(
    manifests.flatMap(({ item, disks }) =>
      disks.flatMap(({ disk, regions }) =>
        regions.flatMap(({ region, checkpoint }) =>
          checkpoint === undefined ? [] : [checkpointName(item, disk, region, checkpoint.attempt)],
        ),
      ),
    ),
  );
}

/** The packs that layers use, as far as the layers can be read. */
async function packsOf(
  container: VaultContainer,
  layers: readonly PlacedLayer[],
): Promise<{ names: Set<string>; all: boolean }> {
  const names = new Set<string>();
  let all = true;
  const read = ({ at, layer }: PlacedLayer): Promise<Layer | undefined> =>
    readLayerMap(container, at, layer).catch((error: unknown) => {
      if (isBackupError(error, ...DAMAGE_CODES)) return undefined;
      throw error;
    });
  // What a layer in a slab uses is the slab.
  const files = layers.filter(({ layer }) => layer.slab === undefined);
  for await (const { result } of inOrder(files, READS_IN_FLIGHT, read)) {
    if (result === undefined) all = false;
    for (const { name } of result?.packs ?? []) names.add(name);
  }
  return { names, all };
}

/** Deletes what a reclaim plan lists, and the plan itself last, so that a crash in between goes on from the start. */
export async function reclaim(ports: Ports, step: { vault: string; jobId: string; attempt: string }): Promise<void> {
  const job = await readJob(ports, { vault: step.vault, jobId: step.jobId as JobId });
  if (job === undefined) return;
  const { container } = await openVault(ports, step.vault);
  let plan: ReclaimPlan;
  try {
    plan = await readPlan(container, job.itemId, attemptId(step.attempt), reclaimPlan);
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing')) return; // done by an earlier run
    throw error;
  }
  try {
    for await (const { part } of partsOf(container, plan, reclaimPlan))
      for (const name of part.units) await deleteOrOwe(ports, container, name);
  } catch (error) {
    // An earlier run has done the list, and died as it deleted its parts.
    if (!isBackupError(error, 'VaultObjectMissing')) throw error;
  }
  await deletePlan(ports, container, plan);
}
