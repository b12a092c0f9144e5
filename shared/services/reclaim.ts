import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, attemptId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import { type MergePlan, type ReclaimPlan, reclaimPlan } from '../format/documents.ts';
import { layerName, planName, recordName } from '../format/names.ts';
import { decodeDocument } from '../format/document.ts';
import { chainRecord } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { decodeLayer } from '../format/layer-file.ts';
import { readJob } from './jobs.ts';
import { readPlan, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';
import type { JobId } from '../domain/ids.ts';

/**
 * Writes down what a committed merge has left without a name: manifests, layers and packs, to be deleted in this order, which is
 * the reverse of that in which they were written. A pack is dead when no block of the fold's result lies in it.
 */
export async function planReclaim(
  container: VaultContainer,
  merge: MergePlan,
  attempt: AttemptId,
): Promise<ReclaimPlan> {
  const layers: string[] = [];
  const packs: string[] = [];
  for (const { disk, region, into, layers: inputs } of merge.units) {
    const at = { item: merge.item, disk, region };
    const output = layerName({ ...at, point: into, attempt: merge.attempt });
    const result = await readIfThere(container, output);
    const used = new Set(result?.packs.map(({ name }) => name));
    if (result !== undefined && result.extents.length === 0) layers.push(output);
    for (const input of inputs) {
      const name = layerName({ ...at, point: input.point, attempt: input.attempt });
      const layer = result && (await readIfThere(container, name));
      if (layer === undefined) continue; // deleted by an earlier run of this reclaim
      layers.push(name);
      packs.push(...layer.packs.map((pack) => pack.name).filter((pack) => !used.has(pack)));
    }
  }
  for (const { disk, region, layer: orphan } of merge.orphans) {
    const name = layerName({ item: merge.item, disk, region, point: orphan.point, attempt: orphan.attempt });
    const layer = await readIfThere(container, name);
    layers.push(name);
    packs.push(...(layer?.packs.map((pack) => pack.name) ?? []));
  }
  const plan: ReclaimPlan = {
    format: 1,
    kind: 'reclaim',
    item: merge.item,
    attempt,
    job: merge.job,
    names: [planName(merge.item, merge.attempt), ...(await replacedManifests(container, merge)), ...layers, ...packs],
  };
  await storePlan(container, plan);
  return plan;
}

/** The manifests that the record before the merge named and the merge's own does not. */
async function replacedManifests(container: VaultContainer, merge: MergePlan): Promise<string[]> {
  const read = async (seq: number) => {
    const name = recordName(merge.item, seq);
    return decodeDocument(name, await container.readWhole(name), chainRecord);
  };
  const [before, after] = await Promise.all([read(merge.seq), read(merge.seq + 1)]);
  const named = new Set(after.points.map(({ manifest }) => manifest));
  return before.points.map(({ manifest }) => manifest).filter((name) => !named.has(name));
}

async function readIfThere(container: VaultContainer, name: string): Promise<Layer | undefined> {
  try {
    return decodeLayer(name, await container.readWhole(name));
  } catch (error) {
    if (isBackupError(error, 'BlobNotFound')) return undefined;
    throw error;
  }
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
  for (const name of plan.names) await container.delete(name);
  await container.delete(planName(plan.item, plan.attempt));
}
