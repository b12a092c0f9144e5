import type { JobChurn, JobError, JobRow } from '../catalog/catalog.ts';
import { type Churn, addChurn, boundBy, noChurn, readChurn } from '../domain/churn.ts';
import { type Trust, trustAfter } from '../domain/trust.ts';
import { BLOCK_BYTES, blocksIn } from '../domain/units.ts';
import type { PlanDisk, TransferPlan } from '../format/documents.ts';
import type { BlobInfo } from '../vault/vault-container.ts';
import { adviceFor } from './advice.ts';
import type { Ports } from './ports.ts';
import { transferObject } from './transfer-unit.ts';
import { objectName } from './unit-objects.ts';

/** What the units of a plan have met, per disk of it: the sum of what stands beside their objects. */
export function churnOf(plan: TransferPlan, objects: ReadonlyMap<string, Pick<BlobInfo, 'summary'>>): Churn[] {
  const sums = plan.disks.map(() => noChurn());
  for (const unit of plan.units) {
    const object = objects.get(objectName(transferObject(plan, unit)));
    addChurn(sums[unit.disk]!, readChurn(object?.summary['churn']));
  }
  return sums;
}

/** The same as the job's row has it. */
export function churnRows(ports: Ports, plan: TransferPlan, churn: readonly Churn[]): JobChurn[] {
  return plan.disks.map(({ lun, url }, index) => {
    const own = churn[index]!;
    return {
      lun,
      extents: own.extents,
      changedBytes: own.changedBlocks * BLOCK_BYTES,
      equalBytes: own.equalBlocks * BLOCK_BYTES,
      readBytes: own.readBlocks * BLOCK_BYTES,
      requests: own.requests,
      savedRequests: own.savedRequests,
      auditedBytes: own.auditedBlocks * BLOCK_BYTES,
      missedBytes: own.missedBlocks * BLOCK_BYTES,
      elapsedMs: own.elapsedMs,
      sourceMs: own.sourceMs,
      vaultMs: own.vaultMs,
      boundBy: boundBy(own, ports.settings.sourceRates[ports.accounts.kindOf(url)]),
    };
  });
}

/** How far the disk's source is trusted after this backup. */
export function trustOf({ source, audit, trust, sizeBytes }: PlanDisk, churn: Churn): Trust {
  return trustAfter(trust, { source, audit, ...churn }, blocksIn(sizeBytes));
}

/**
 * What a backup that has done its work has to say all the same: blocks that the source had called unchanged. They are in its point;
 * whatever else was left out, in this point and in those before, nobody has seen yet.
 */
export function churnWarnings({ operation, churn = [] }: JobRow): JobError[] {
  if (operation !== 'Backup') return [];
  return churn
    .filter(({ missedBytes }) => missedBytes > 0)
    .map(({ lun, missedBytes }) => ({
      code: 'ChangedBlocksMissed',
      message:
        `${lun === -1 ? 'OS disk' : `LUN ${lun}`}: ${missedBytes / BLOCK_BYTES} blocks of 16 KiB that the source of changes called unchanged ` +
        'differ from the point before; they are in this point. The source is not trusted now: the next backup of the disk goes by hashes',
      recommendations: adviceFor('ChangedBlocksMissed'),
    }));
}
