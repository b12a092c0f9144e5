import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, type ItemId, type JobId, attemptId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { LayerName } from '../domain/point-stack.ts';
import {
  type ChainRecord,
  type Manifest,
  type ReclaimPlan,
  type RecordPoint,
  reclaimPlan,
} from '../format/documents.ts';
import { checkpointName, planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { readJob } from './jobs.ts';
import { type RegionOf, blobOf, readLayerMap } from './layers.ts';
import { deleteOrOwe } from './owed-delete.ts';
import { inOrder } from './pipeline.ts';
import { readPlan, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';

/*
 * What a commit has left without a name is the difference of two records: manifests that only the older one names, and what only
 * those lead to. It is written down as a plan first, and deleted after a grace, in the reverse of the order in which it was written.
 */

/** Layers whose maps are read at once. */
const READS_IN_FLIGHT = 8;

/** A committed plan that has replaced something: it was made on record `seq` and committed as the next one. */
export interface Replacing {
  readonly item: ItemId;
  readonly attempt: AttemptId;
  readonly job: JobId;
  readonly seq: number;
  /** The objects that its units have written: what the new record does not lead to goes too. */
  readonly made: readonly string[];
}

/** Writes down what is to be deleted, under `attempt`. Where another run has done so, that run's list stands. */
export async function planReclaim(
  container: VaultContainer,
  commit: Replacing,
  attempt: AttemptId,
): Promise<ReclaimPlan> {
  const chain = new Chain(container, commit.item);
  const [before, after] = await Promise.all([chain.record(commit.seq), chain.record(commit.seq + 1)]);
  const replaced = namedOnlyBy(before, after);
  const plan: ReclaimPlan = {
    format: 1,
    kind: 'reclaim',
    item: commit.item,
    attempt,
    job: commit.job,
    names: [
      planName(commit.item, commit.attempt),
      ...replaced.map(({ manifest }) => manifest),
      ...(await unnamedObjects(container, chain, replaced, namedOnlyBy(after, before), commit.made)),
    ],
  };
  await storePlan(container, plan);
  return plan;
}

function namedOnlyBy(record: ChainRecord, other: ChainRecord): RecordPoint[] {
  const named = new Set(other.points.map(({ manifest }) => manifest));
  return record.points.filter(({ manifest }) => !named.has(manifest));
}

/** Layers, slabs and checkpoints of `replaced` manifests that `standing` ones do not lead to, and packs that no layer uses any more. */
async function unnamedObjects(
  container: VaultContainer,
  chain: Chain,
  replaced: readonly RecordPoint[],
  standing: readonly RecordPoint[],
  made: readonly string[],
): Promise<string[]> {
  const [old, fresh] = await Promise.all([readThere(chain, replaced), readThere(chain, standing)]);
  // Later commits and their reclaims have been here: this is a late run, and the first one's list has been done.
  if (old.length < replaced.length || fresh.length < standing.length) return [];
  const oldLayers = layersOf(old);
  const freshLayers = layersOf(fresh);
  const gone = [...oldLayers.values()].filter((layer) => !freshLayers.has(keyOf(layer)));
  const added = [...freshLayers.values()].filter((layer) => !oldLayers.has(keyOf(layer)));
  const used = await packsOf(container, added);
  // Packs whose layer cannot be read are left to the sweep: it deletes nothing while it cannot see all that is named.
  const packs = used.all ? (await packsOf(container, gone)).names : new Set<string>();
  const kept = new Set([...freshLayers.values()].map(({ at, layer }) => blobOf(at, layer)));
  const blobs = [...gone.map(({ at, layer }) => blobOf(at, layer)), ...made].filter((name) => !kept.has(name));
  const checkpoints = checkpointsOf(old).difference(checkpointsOf(fresh));
  return [
    ...checkpoints,
    ...new Set(blobs),
    ...packs.difference(used.names).difference(kept).difference(new Set(blobs)),
  ];
}

async function readThere(chain: Chain, entries: readonly RecordPoint[]): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const entry of entries) {
    try {
      manifests.push(await chain.manifest(entry));
    } catch (error) {
      if (!isBackupError(error, 'VaultObjectMissing')) throw error;
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
  for (const name of plan.names) await deleteOrOwe(ports, container, name);
  await deleteOrOwe(ports, container, planName(plan.item, plan.attempt));
}
