import type { AlertNews } from '../alert/alert-receiver.ts';
import type { AlertRow } from '../catalog/alert-row.ts';
import type { KeyedRow } from '../catalog/catalog-table.ts';
import { isBackupError } from '../domain/errors.ts';
import { type Concern, concerns } from './alert-look.ts';
import type { Ports } from './ports.ts';

const MINUTE_MS = 60_000;
/** A step that was given up is an event: its alert is over when none of its job has been for a day. */
const EVENT_MS = 24 * 60 * MINUTE_MS;
/** Who tells an alert has it to himself for this long: longer than a post may take. A worker that dies leaves it to others after that. */
const CLAIM_MS = 5 * MINUTE_MS;
/** Between tries: a minute, then twice as long each time, an hour at most. */
const retryMs = (failures: number): number => Math.min(MINUTE_MS * 2 ** (failures - 1), 60 * MINUTE_MS);

/**
 * Compares what is wrong with what has been told, and tells the difference: each alert once when it is raised and once when it is over.
 * The rows are what has been told; a tick that is killed, late or doubled finds there what is left to do. Only a worker that dies between
 * the receiver's answer and its own note of it makes the receiver hear the same news twice. Resolves how many were told; without a receiver
 * none is looked for.
 */
export async function tellAlerts(ports: Ports): Promise<number> {
  if (ports.alerts === undefined) return 0;
  const now = ports.clock.now();
  const wrong = new Map<string, Concern>();
  for await (const concern of concerns(ports))
    wrong.set(`${concern.vault}/${concern.kind}|${concern.subject}`, concern);
  for (const concern of wrong.values()) await raise(ports, concern);
  let told = 0;
  for await (const alert of ports.catalog.alerts.listAll()) {
    const { row } = alert;
    const isOver =
      row.kind === 'stepGivenUp' ? now - row.seenAt > EVENT_MS : !wrong.has(`${alert.partition}/${alert.key}`);
    told += await unlessChanged(() => tellOne(ports, alert, isOver), 0);
  }
  return told;
}

/** Notes what is wrong, if it is not noted yet. Whoever finds it at the same time notes the same. */
export async function raise(ports: Ports, { vault, kind, subject, message }: Concern): Promise<void> {
  const now = ports.clock.now();
  const key = `${kind}|${subject}`;
  const known = await ports.catalog.alerts.get(vault, key);
  await unlessChanged(async () => {
    if (known === undefined) {
      const fresh = { alertId: ports.ids.guid(), kind, subject, message, raisedAt: now, seenAt: now };
      await ports.catalog.alerts.insert(vault, key, { ...fresh, failures: 0, nextTryAt: now });
    } else if (kind === 'stepGivenUp') {
      await ports.catalog.alerts.replace(vault, key, { ...known.row, seenAt: now }, known.etag);
    }
  }, undefined);
}

/** Tells the next news of an alert, if there is any and its time has come; of one that is over before it was told, both. */
async function tellOne(ports: Ports, alert: KeyedRow<AlertRow>, isOver: boolean): Promise<number> {
  const now = ports.clock.now();
  const { partition, key } = alert;
  let { row, etag } = alert;
  const put = async (next: AlertRow): Promise<void> => {
    etag = await ports.catalog.alerts.replace(partition, key, next, etag);
    row = next;
  };
  // What is over stays so: should it come back, that is the next alert.
  if (isOver && row.resolvedAt === undefined) await put({ ...row, resolvedAt: now });
  if (now < row.nextTryAt || (row.toldAt !== undefined && row.resolvedAt === undefined)) return 0;
  await put({ ...row, nextTryAt: now + CLAIM_MS });
  let told = 0;
  try {
    if (row.toldAt === undefined) {
      await ports.alerts?.tell(newsOf(partition, row, 'raised'));
      told++;
      await put({ ...row, toldAt: now, failures: 0, nextTryAt: row.resolvedAt === undefined ? now : now + CLAIM_MS });
    }
    if (row.resolvedAt !== undefined) {
      await ports.alerts?.tell(newsOf(partition, row, 'resolved'));
      told++;
      await ports.catalog.alerts.remove(partition, key, etag);
    }
  } catch (error) {
    if (!isBackupError(error, 'AlertNotDelivered')) throw error;
    const failures = row.failures + 1;
    ports.log(`alert ${row.kind} of ${row.subject} was not delivered (${failures} times): ${error.message}`, 'error');
    await put({ ...row, failures, nextTryAt: now + retryMs(failures) });
  }
  return told;
}

function newsOf(vault: string, row: AlertRow, event: AlertNews['event']): AlertNews {
  const { alertId: id, kind, subject, message, raisedAt, resolvedAt } = row;
  const end =
    event === 'resolved' && resolvedAt !== undefined ? { resolvedAt: new Date(resolvedAt).toISOString() } : {};
  return { id, event, kind, vault, subject, message, raisedAt: new Date(raisedAt).toISOString(), ...end };
}

/** A twin has changed the row meanwhile: what is left to do the next tick finds. */
async function unlessChanged<Result>(change: () => Promise<Result>, otherwise: Result): Promise<Result> {
  try {
    return await change();
  } catch (error) {
    if (isBackupError(error, 'EtagMismatch', 'RowAlreadyExists', 'RowNotFound')) return otherwise;
    throw error;
  }
}
