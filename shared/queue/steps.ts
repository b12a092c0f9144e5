import { z } from 'zod';
import { BackupError } from '../domain/errors.ts';

const guid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'expected a lower-case GUID');
const attempt = z.string().regex(/^[0-9a-f]{16}$/, 'expected 16 hexadecimal digits');
/** A place in an item's folder, as shared/services/sweep-walk.ts has them. */
const place = z
  .string()
  .regex(
    /^(disks\/[0-9a-z-]{1,40}\/\d{0,6}|plans\/[0-9a-f]{0,16}|points\/\d{0,17})$/,
    "expected a place in an item's folder, such as disks/<disk>/001",
  );
const job = { v: z.literal(1), vault: z.string().min(1), jobId: guid };

/** The messages of Strata, one per kind of bounded work. Each can run twice, late, or at the same time as its twin. */
const step = z.discriminatedUnion('step', [
  /** Snapshot all disks of the job's VM as one set. */
  z.strictObject({ step: z.literal('take-snapshot'), ...job }),
  /** Plan the transfer of the job's recovery point and send its units; `instead` names a plan that has turned out to be stale. */
  z.strictObject({ step: z.literal('plan-transfer'), ...job, instead: attempt.optional() }),
  /** One region of one disk becomes one layer. */
  z.strictObject({ step: z.literal('transfer-unit'), ...job, attempt, unit: z.int().nonnegative() }),
  /** Plan the merge of an expired point. */
  z.strictObject({ step: z.literal('plan-merge'), ...job }),
  /** Two layers of one region become one. */
  z.strictObject({ step: z.literal('merge-unit'), ...job, attempt, unit: z.int().nonnegative() }),
  /** Plan which sparse packs of an item are rewritten. */
  z.strictObject({ step: z.literal('plan-compaction'), ...job }),
  /** The sparse packs of one layer become dense ones. */
  z.strictObject({ step: z.literal('compact-unit'), ...job, attempt, unit: z.int().nonnegative() }),
  /** Compare what a transfer, merge or compaction plan wants with what is there; report, and commit when all is there. `round` counts looks. */
  z.strictObject({
    step: z.literal('commit'),
    ...job,
    attempt,
    round: z.int().nonnegative(),
    /** How many units were there at the last look, and for how many looks there have been no more. */
    done: z.int().nonnegative().optional(),
    stalled: z.int().nonnegative().optional(),
    part: z.int().nonnegative().optional(),
  }),
  /** Delete what a commit no longer names, after the grace. */
  z.strictObject({ step: z.literal('reclaim'), ...job, attempt }),
  /** Create the targets of a restore and send its units; `instead` names a plan whose snapshots have gone. */
  z.strictObject({ step: z.literal('plan-restore'), ...job, instead: attempt.optional() }),
  /** A region of one disk, or several small ones, are written to their target and read back. */
  z.strictObject({ step: z.literal('restore-unit'), ...job, attempt, unit: z.int().nonnegative() }),
  /** Compare a restore's finished units with its plan; hand the disks over when all are done. */
  z.strictObject({ step: z.literal('finish-restore'), ...job, attempt, round: z.int().nonnegative() }),
  /** Share a cleanup run of a vault out among its items. */
  z.strictObject({
    step: z.literal('clean-vault'),
    v: z.literal(1),
    vault: z.string().min(1),
    run: z.string().min(1),
  }),
  /** Plan the verification of an item, or take it on. */
  z.strictObject({ step: z.literal('plan-verify'), ...job }),
  /** Look at one disk's folder, some layers of one region, or one restored region. */
  z.strictObject({
    step: z.literal('verify-unit'),
    ...job,
    attempt,
    unit: z.int().nonnegative(),
    /** How often it has made way for a backup. */
    waits: z.int().nonnegative().optional(),
  }),
  /** Compare a verification's finished units with its plan, see to its drill, and end it. */
  z.strictObject({
    step: z.literal('finish-verify'),
    ...job,
    attempt,
    round: z.int().nonnegative(),
    /** Which coordinator this is: only the one that the job's row names goes on. */
    coordinator: z.string().optional(),
  }),
  /** Start the nightly verification of one item. */
  z.strictObject({
    step: z.literal('verify-item'),
    v: z.literal(1),
    vault: z.string().min(1),
    itemId: z.string().min(1),
  }),
  /** Apply instant retention and expiry to one item, in a cleanup run or else in the newest that is going on. */
  z.strictObject({
    step: z.literal('clean-item'),
    v: z.literal(1),
    vault: z.string().min(1),
    itemId: z.string().min(1),
    run: z.string().min(1).optional(),
  }),
  /** Find and delete what crashed or lost runs have left of one item; `after` is the place in its folder that has been looked at last. */
  z.strictObject({
    step: z.literal('sweep-item'),
    v: z.literal(1),
    vault: z.string().min(1),
    itemId: z.string().min(1),
    after: place.optional(),
  }),
  /** See to it that every item of a vault is rebuilt, and end the rebuild's job when all are. `round` counts looks. */
  z.strictObject({ step: z.literal('rebuild-vault'), ...job, round: z.int().nonnegative() }),
  /** Rebuild the rows of one item from its folder in the vault's container. */
  z.strictObject({ step: z.literal('rebuild-item'), ...job, item: z.string().min(1) }),
]);

export type Step = z.infer<typeof step>;
export type StepName = Step['step'];

/**
 * The queues. Each is asked again and again by each worker, whether there is work or not, so there are few: what is asked for on a schedule, by
 * people, or for the vault's own sake is kept apart, so that a restore does not stand in line behind a thousand backups, and units,
 * which read and write disks, are kept apart from the steps that plan and commit. Snapshots wait for nobody.
 */
export const QUEUES = [
  'strata-snapshot',
  'strata-backup',
  'strata-backup-unit',
  'strata-restore',
  'strata-restore-unit',
  'strata-care',
  'strata-care-unit',
] as const;
export type QueueName = (typeof QUEUES)[number];

/** The queue of each step. */
export const QUEUE_OF: Readonly<Record<StepName, QueueName>> = {
  'take-snapshot': 'strata-snapshot',
  'plan-transfer': 'strata-backup',
  commit: 'strata-backup',
  'transfer-unit': 'strata-backup-unit',
  'plan-restore': 'strata-restore',
  'finish-restore': 'strata-restore',
  'rebuild-vault': 'strata-restore',
  'rebuild-item': 'strata-restore',
  'restore-unit': 'strata-restore-unit',
  'plan-merge': 'strata-care',
  'plan-compaction': 'strata-care',
  reclaim: 'strata-care',
  'plan-verify': 'strata-care',
  'finish-verify': 'strata-care',
  'verify-item': 'strata-care',
  'clean-vault': 'strata-care',
  'clean-item': 'strata-care',
  'sweep-item': 'strata-care',
  'merge-unit': 'strata-care-unit',
  'compact-unit': 'strata-care-unit',
  'verify-unit': 'strata-care-unit',
};

/** Reads a message as it came off a queue: JSON text, or the object that the Functions runtime already made of it. */
export function parseStep(entry: unknown): Step {
  let value = entry;
  if (typeof entry === 'string') {
    try {
      value = JSON.parse(entry);
    } catch (cause) {
      throw new BackupError('MessageInvalid', `a queue message is not JSON: ${entry.slice(0, 120)}`, { cause });
    }
  }
  const parsed = step.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined ? '' : `${issue.path.join('.')}: ${issue.message}`;
  throw new BackupError('MessageInvalid', `a queue message is not a step: ${where}`);
}

/** The vault, and the job or item, that a message belongs to; nothing when it is no step. */
export function subjectOf(entry: unknown): {
  readonly vault?: string;
  readonly jobId?: string;
  readonly item?: string;
} {
  try {
    const read = parseStep(entry);
    return {
      vault: read.vault,
      ...('jobId' in read ? { jobId: read.jobId } : {}),
      ...('itemId' in read ? { item: read.itemId } : {}),
    };
  } catch {
    return {};
  }
}
