import type { Versioned } from '../catalog/catalog-table.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { runId } from '../domain/ids.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import type { ChainRecord, TransferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { churnRows } from './churn-report.ts';
import { DamagedRegion } from './damaged-region.ts';
import { type JobAddress, changeJobSeen } from './jobs.ts';
import { ahead, forEachAtOnce } from './pipeline.ts';
import { layoutOf, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { settleTransfer } from './settle-transfer.ts';
import { type UnitResult, finishedUnits, manifestHead, writeManifest } from './transfer-manifest.ts';
import { bytesOf } from './transfer-plan.ts';
import { transferObject, writeUnit } from './transfer-unit.ts';
import { objectName } from './unit-objects.ts';

/*
 * A transfer in which little has to be read is done faster than its messages travel: the handler that has planned it works it off and
 * commits it. What it does is in the order in which units and coordinators would do it: the plan is noted on the job, then stored,
 * then come the objects; then the record on which the plan was made, which has been read before the job was asked whether it still runs,
 * gets its successor, or another was first. So a handler that is killed anywhere leaves what messages can go on from, and one that wakes up
 * late finds its job or its record taken. What it leaves out is what nobody would look at: a unit that has found nothing changed
 * writes no object, and a plan of such units alone is not stored. A run that comes after a crash finds no such plan, and makes another.
 */

/** Plans of more units than this are never done by the handler that makes them. */
const MOST_UNITS = 64;
const UNITS_IN_FLIGHT = 8;

/** Whether a plan is done by the handler that has made it: a night in which little has changed. */
export function isSmall({ settings: { onTheSpotBytes } }: Pick<Ports, 'settings'>, plan: TransferPlan): boolean {
  if (onTheSpotBytes === 0 || plan.parts !== undefined || plan.units.length > MOST_UNITS) return false;
  const audited = plan.units
    .flatMap(({ regions }) => regions)
    .reduce((sum, { audit }) => sum + (audit?.blocks ?? 0), 0);
  return bytesOf(plan) + audited * BLOCK_BYTES <= onTheSpotBytes;
}

/** A plan that has been noted on its job and not been stored yet, and what it was made on. */
export interface Spot {
  readonly address: JobAddress;
  readonly job: Versioned<JobRow>;
  readonly container: VaultContainer;
  readonly chain: Chain;
  /** Of the item's points and findings. */
  readonly partition: string;
  readonly record: ChainRecord;
  readonly plan: TransferPlan;
}

/**
 * Transfers and commits. False: that takes more than one handler can see to, and messages are to go on, with the plan stored: a layer of the
 * base is damaged, the source cannot compare, or another record has come first.
 */
export async function transferOnTheSpot(ports: Ports, spot: Spot): Promise<boolean> {
  const { address, container, chain, partition, record: base, plan } = spot;
  const { set } = spot.job.row;
  const results = set && (await workOff(ports, spot));
  if (results === undefined) return false;
  let reported: ReturnType<typeof changeJobSeen> | undefined;
  const found = await writeManifest(
    container,
    chain,
    plan,
    layoutOf(ports.settings.layout, plan),
    async () => results,
    (churn) => {
      const rows = churnRows(ports, plan, churn);
      reported = ahead(
        changeJobSeen(
          ports,
          address,
          (row) => (row.status === 'InProgress' && row.attempt === plan.attempt ? { ...row, churn: rows } : undefined),
          spot.job,
        ),
      );
      return manifestHead(plan, spot.job.row, set!, churn);
    },
  );
  if (found === undefined) return false;
  const running = await reported;
  if (running === undefined) return true; // the job has ended or has another plan
  const { won, record } = await chain.append(base, {
    kind: 'backup',
    attempt: plan.attempt,
    job: plan.job,
    writtenAt: new Date(ports.clock.now()).toISOString(),
    points: [...base.points, found.entry],
  });
  if (!won) return false;
  const stored = [...results.values()].some(({ object }) => object !== undefined) ? plan : null;
  const { row: job } = running;
  const { written } = found;
  const committed = { address, job, container, partition, chain, attempt: plan.attempt, plan: stored, written };
  await settleTransfer(ports, { ...committed, seen: running }, record);
  return true;
}

/** Does the plan's units; answers what they have come to, undefined when one cannot be done as it was planned. */
async function workOff(
  ports: Ports,
  { container, plan, partition }: Spot,
): Promise<ReadonlyMap<string, UnitResult> | undefined> {
  const run = runId(ports.ids.hex(8));
  const results = new Map<string, UnitResult>();
  const behind = behindPlan(container, plan);
  let isAnyStored = false;
  try {
    await forEachAtOnce(plan.units, UNITS_IN_FLIGHT, async (unit) => {
      const { summary, isStored } = await writeUnit(ports, { container: behind, plan, partition }, unit, run, true);
      if (isStored) isAnyStored = true;
      else results.set(objectName(transferObject(plan, unit)), { summary });
    });
  } catch (error) {
    if (error instanceof DamagedRegion || isBackupError(error, 'ChangeTrackingUnusable')) return undefined;
    throw error;
  }
  // A twin may have written the objects: those that stand count.
  return isAnyStored ? new Map([...results, ...(await finishedUnits(container, plan))]) : results;
}

/** `container`, in which the plan is stored before anything else is. */
function behindPlan(container: VaultContainer, plan: TransferPlan): VaultContainer {
  let stored: Promise<void> | undefined;
  const behind = async <T>(write: () => Promise<T>): Promise<T> => {
    await (stored ??= storePlan(container, plan));
    return write();
  };
  return {
    ...container,
    put: (name, body, summary) => behind(() => container.put(name, body, summary)),
    assemble: (name, parts, summary) => behind(() => container.assemble(name, parts, summary)),
  };
}
