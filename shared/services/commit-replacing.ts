import { createHash } from 'node:crypto';
import type { z } from 'zod';
import type { JobRow } from '../catalog/catalog.ts';
import { type AttemptId, type JobId, attemptId } from '../domain/ids.ts';
import type { ChainRecord, RecordPoint } from '../format/documents.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { backOffSeconds } from './back-off.ts';
import { Chain } from './chain.ts';
import { endJob, finishJob } from './end-job.ts';
import { type JobAddress, changeJob, readJob, runningJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { type PartedPlan, partCount, readPart, readPlan, unitCount } from './plans.ts';
import type { Ports } from './ports.ts';
import { project } from './projection.ts';
import { planReclaim } from './reclaim.ts';
import { type UnitObject, finishedObjects } from './unit-objects.ts';
import { openVault } from './vault-of.ts';

/** A plan that puts new layers in the places of others, on the record that it was made on. */
interface ReplacingPlan extends PartedPlan {
  readonly job: JobId;
  readonly seq: number;
}

/** What a commit has to work with once all objects of its plan are there. */
export interface ReplacingCommit<Plan> {
  readonly ports: Ports;
  readonly container: VaultContainer;
  readonly chain: Chain;
  /** Partition of the item's point rows. */
  readonly partition: string;
  readonly plan: Plan;
  /** The record that the plan was made on; it is the newest. */
  readonly before: ChainRecord;
  /** Part `part` of the plan. */
  readonly partAt: (part: number) => Promise<Plan>;
  /** What the units of a part have written, by name: all of it. */
  readonly objectsOf: (part: Plan) => Promise<ReadonlyMap<string, BlobInfo>>;
}

/** What tells one kind of replacing commit from another. */
export interface Replacing<Plan> {
  readonly kind: ChainRecord['kind'];
  readonly schema: z.ZodType<Plan>;
  /** What the units of a part of the plan write, one object each. */
  readonly objects: (part: Plan) => UnitObject[];
  /** The points of the new record. Manifests are written here; nothing that is named changes. */
  readonly points: (commit: ReplacingCommit<Plan>) => Promise<RecordPoint[]>;
  /** What has to be done right before the record. */
  readonly beforeRecord?: (commit: ReplacingCommit<Plan>) => Promise<void>;
}

/**
 * The coordinator of a merge or a compaction: looks again later until all objects are there, then commits as the record right after
 * the one that the plan was made on, or never. It reads the newest record first, then that the job still runs, then that the objects
 * exist, and only then writes. Who has won is told by the attempt in the record that stands.
 */
export async function commitReplacing<Plan extends ReplacingPlan>(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
  { kind, schema, objects, points, beforeRecord }: Replacing<Plan>,
): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await runningJob(ports, address, step.attempt);
  if (job === undefined) return;
  const attempt = attemptId(step.attempt);
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const chain = new Chain(container, job.itemId);
  const newest = await chain.newest();
  const plan = await readPlan(container, job.itemId, attempt, schema);
  const settled = (record: ChainRecord): Promise<void> =>
    settle(ports, address, { container, chain, partition, plan, schema, objects }, record);
  if ((await chain.committed([attempt], plan.seq, newest)) !== undefined) return settled(newest);
  if (newest.seq !== plan.seq) return giveWay(ports, address, job);

  if ((await runningJob(ports, address, step.attempt)) === undefined) return;
  const partAt = (part: number): Promise<Plan> => readPart(container, plan, part, schema);
  const objectsOf = async (part: Plan): Promise<ReadonlyMap<string, BlobInfo>> => {
    const found = await finishedObjects(container, objects(part));
    if (found.size < part.units.length) throw new UnitsMissing();
    return found;
  };
  const commit = { ports, container, chain, partition, plan, before: newest, partAt, objectsOf };
  let next: RecordPoint[];
  try {
    let done = 0;
    for (const part of Array(partCount(plan)).keys())
      done += (await finishedObjects(container, objects(await partAt(part)))).size;
    if (done < unitCount(plan)) {
      // The watch sends units again that nobody works on: only progress is a sign of life.
      await changeJob(ports, address, (row) => {
        const doneBytes = Math.floor((row.totalBytes * done) / unitCount(plan));
        return row.status === 'InProgress' && doneBytes > row.doneBytes ? { ...row, doneBytes } : undefined;
      });
      throw new UnitsMissing();
    }
    // What has been written has been written, whatever becomes of the commit.
    await changeJob(ports, address, (row) => ({ ...row, doneBytes: row.totalBytes }));
    next = await points(commit);
  } catch (error) {
    if (!(error instanceof UnitsMissing)) throw error;
    return ports.queue.send({ ...step, step: 'commit', v: 1, round: step.round + 1 }, backOffSeconds(step.round));
  }
  await beforeRecord?.(commit);
  const { won, record } = await chain.append(newest, {
    kind,
    attempt,
    job: plan.job,
    writtenAt: new Date(ports.clock.now()).toISOString(),
    points: next,
  });
  return won ? settled(record) : giveWay(ports, address, job);
}

/** Units of the plan have not written their objects yet; or a sweep has taken them away, once the job had ended. */
class UnitsMissing extends Error {}

/** Another record came first: this attempt can never commit. Cleanup looks at the item anew. */
async function giveWay(ports: Ports, address: JobAddress, job: JobRow): Promise<void> {
  await endJob(ports, address, 'Cancelled');
  await ports.queue.send({ step: 'clean-item', v: 1, vault: address.vault, itemId: job.itemKey });
}

async function settle<Plan extends ReplacingPlan>(
  ports: Ports,
  address: JobAddress,
  committed: Pick<ReplacingCommit<Plan>, 'container' | 'chain' | 'partition' | 'plan'> &
    Pick<Replacing<Plan>, 'schema' | 'objects'>,
  record: ChainRecord,
): Promise<void> {
  const { container, chain, partition, plan, schema, objects } = committed;
  await project(ports, partition, chain, record);
  const attempt = reclaimAttempt(plan.attempt);
  await planReclaim(container, ports.settings.layout, { plan, schema, objects }, attempt);
  await ports.queue.send(
    { step: 'reclaim', v: 1, vault: address.vault, jobId: address.jobId, attempt },
    ports.settings.deleteGraceSeconds,
  );
  const job = await readJob(ports, address);
  await finishJob(ports, address, 'Completed');
  if (job !== undefined)
    await ports.queue.send({ step: 'clean-item', v: 1, vault: address.vault, itemId: job.itemKey });
}

/** The same for every run that finds the plan committed, so that what is to be deleted is written down once. */
function reclaimAttempt(committed: AttemptId): AttemptId {
  return attemptId(createHash('sha256').update(`reclaim ${committed}`).digest('hex').slice(0, 16));
}
