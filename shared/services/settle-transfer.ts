import type { Versioned } from '../catalog/catalog-table.ts';
import type { JobRow } from '../catalog/catalog.ts';
import type { AttemptId } from '../domain/ids.ts';
import { type ChainRecord, type TransferPlan, transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { changeItem } from './items.ts';
import type { JobAddress } from './jobs.ts';
import { deleteOrOwe } from './owed-delete.ts';
import { ahead, forEachAtOnce } from './pipeline.ts';
import { deletePlan, notedPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { type Written, project } from './projection.ts';

const DELETES_IN_FLIGHT = 16;

/** A transfer that a record has committed. */
export interface Committed {
  readonly address: JobAddress;
  readonly job: JobRow;
  readonly container: VaultContainer;
  /** Of the item's points. */
  readonly partition: string;
  readonly chain: Chain;
  readonly attempt: AttemptId;
  /** The job's row as the caller has written it last. */
  readonly seen?: Versioned<JobRow> | undefined;
  /** The plan; null: it was never stored. Where it is not known it is read. */
  readonly plan?: TransferPlan | null;
  /** Objects of units that have found nothing changed. */
  readonly empty?: readonly string[];
  /** The manifest that the caller has stored for the point. */
  readonly written?: Written;
}

/**
 * What follows the record of a transfer: the rows of points, the item and the job, and the deletes of what it needs no more. All of it
 * repeats safely; the job ends when the points' rows are as the record says.
 */
export async function settleTransfer(ports: Ports, committed: Committed, record: ChainRecord): Promise<void> {
  const { address, job, container, partition, chain, attempt, seen, empty = [], written } = committed;
  const dropPlan = ({ parts }: Partial<TransferPlan> = {}): Promise<void> =>
    deletePlan(ports, container, { item: job.itemId, attempt, parts });
  const cleared = ahead(forEachAtOnce(empty, DELETES_IN_FLIGHT, (name) => deleteOrOwe(ports, container, name)));
  const itemSoon = ahead(ports.catalog.items.get(address.vault, job.itemKey));
  await project(ports, partition, chain, record, written);
  let item = await itemSoon;
  if (item?.row.protectionState === 'IRPending')
    item = await changeItem(
      ports,
      address.vault,
      job.itemKey,
      (row) => (row.protectionState === 'IRPending' ? { ...row, protectionState: 'Protected' } : undefined),
      item,
    );
  await Promise.all([
    finishJob(ports, address, 'Completed', { job: seen, item }),
    cleared,
    committed.plan && dropPlan(committed.plan),
  ]);
  if (committed.plan === undefined) await dropPlan(await notedPlan(container, job, transferPlan));
}
