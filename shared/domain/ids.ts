import { BackupError } from './errors.ts';

declare const brand: unique symbol;
type Brand<Name extends string> = string & { readonly [brand]: Name };

/** A protected item's id in its vault's container: given when protection starts, never used again after removal. */
export type ItemId = Brand<'ItemId'>;
/** A disk's id within its item: given at first sight, kept while the disk's lineage goes on. */
export type DiskId = Brand<'DiskId'>;
/** A recovery point's id: 17 decimal digits that ascend in snapshot order within an item. */
export type PointId = Brand<'PointId'>;
/** The id of one plan: the objects that the plan makes carry it in their names. */
export type AttemptId = Brand<'AttemptId'>;
/** The id of a job, a GUID as clients expect it. */
export type JobId = Brand<'JobId'>;
/** A nonce of one run of a handler: two runs of the same unit never write the same pack name. */
export type RunId = Brand<'RunId'>;

type Parser<Id> = (text: string) => Id;

function parser(what: string, form: RegExp, expected: string): Parser<never> {
  return (text) => {
    if (form.test(text)) return text as never;
    throw new BackupError('InvalidRequest', `${JSON.stringify(text)} is not ${what}: expected ${expected}`);
  };
}

const ITEM_FORM = /^[a-z0-9][a-z0-9_.-]{0,79}$/;
export const isItemId = (text: string): text is ItemId => ITEM_FORM.test(text);
export const itemId: Parser<ItemId> = parser('an item id', ITEM_FORM, 'lower-case letters, digits, _ . -');
export const diskId: Parser<DiskId> = parser(
  'a disk id',
  /^[a-z0-9][a-z0-9-]{0,39}$/,
  'lower-case letters, digits and hyphens',
);
export const pointId: Parser<PointId> = parser('a recovery point id', /^\d{17}$/, '17 digits');
export const attemptId: Parser<AttemptId> = parser('an attempt id', /^[0-9a-f]{16}$/, '16 hexadecimal digits');
export const runId: Parser<RunId> = parser('a run id', /^[0-9a-f]{8}$/, '8 hexadecimal digits');
export const jobId: Parser<JobId> = parser(
  'a job id',
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  'a lower-case GUID',
);

/** The next point id of an item: from the clock, and above `last` even if the clock stood still or stepped back. */
export function nextPointId(nowMs: number, last: PointId | undefined): PointId {
  const byClock = BigInt(Math.trunc(nowMs)) * 10_000n;
  const byOrder = last === undefined ? 0n : BigInt(last) + 1n;
  return pointId((byClock > byOrder ? byClock : byOrder).toString().padStart(17, '0'));
}
