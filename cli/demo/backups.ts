import { z } from 'zod';
import type { Arm, Paths } from './arm.ts';
import { DemoError } from './errors.ts';

/** A recovery point as the API shows it, in the words that people use. */
export interface ShownPoint {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** `Snapshot`, `Snapshot and vault` or `Vault`. */
  readonly label: string;
  /** The same in the words of the Azure CLI's `tierType`. */
  readonly tier: string;
  readonly kind: string;
  readonly sizeBytes: number;
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  readonly storedBytes: number;
  readonly note: string | undefined;
  /** Milliseconds since the epoch; undefined: without end. */
  readonly expires: number | undefined;
}

const pointsAnswer = z.object({
  value: z.array(
    z.object({
      name: z.string(),
      properties: z.object({
        recoveryPointTime: z.string(),
        recoveryPointProperties: z.object({ expiryTime: z.string().nullish() }).nullish(),
        strata: z.object({
          label: z.string(),
          kind: z.string(),
          sizeBytes: z.number(),
          dataBlocks: z.number(),
          clearedBlocks: z.number(),
          storedBytes: z.number(),
          note: z.string().nullish(),
        }),
      }),
    }),
  ),
  nextLink: z.string().nullish(),
});

const jobAnswer = z.object({
  name: z.string(),
  properties: z.object({
    operation: z.string(),
    status: z.string(),
    errorDetails: z.array(z.object({ errorString: z.string().nullish() })).nullish(),
    extendedInfo: z
      .object({
        progressPercentage: z.number().nullish(),
        propertyBag: z.record(z.string(), z.string()).nullish(),
      })
      .nullish(),
  }),
});
export type ShownJob = z.infer<typeof jobAnswer>['properties'];
const jobsAnswer = z.object({ value: z.array(jobAnswer), nextLink: z.string().nullish() });

const operationAnswer = z.object({
  status: z.string(),
  properties: z.object({ jobId: z.string() }).nullish(),
  error: z.object({ code: z.string(), message: z.string() }).nullish(),
});

/** How soon something is looked at again while it changes: what is short is noticed at once, what is long costs little. */
const FIRST_LOOK_MS = 120;
const LAST_LOOK_MS = 600;
const lookMs = (looks: number): number => Math.min(LAST_LOOK_MS, FIRST_LOOK_MS * 1.15 ** looks);
/** Nothing in a demo of the default size takes nearly as long; a larger one moves on all the time. */
const STALLED_MS = 5 * 60_000;

const TIER_OF_LABEL: Readonly<Record<string, string>> = {
  Snapshot: 'Snapshot',
  'Snapshot and vault': 'SnapshotAndVaultStandard',
  Vault: 'VaultStandard',
};

/** The recovery points of the demo's VM, oldest first. */
export async function listPoints(arm: Arm, { points }: Paths): Promise<ShownPoint[]> {
  const shown: ShownPoint[] = [];
  for (let next: string | null | undefined = points; next;) {
    const answer: z.infer<typeof pointsAnswer> = pointsAnswer.parse(await arm.get(next));
    for (const { name, properties } of answer.value) {
      const { recoveryPointTime, recoveryPointProperties, strata } = properties;
      const expiry = recoveryPointProperties?.expiryTime;
      shown.push({
        ...strata,
        note: strata.note ?? undefined,
        name,
        time: Date.parse(recoveryPointTime),
        tier: TIER_OF_LABEL[strata.label] ?? strata.label,
        expires: expiry ? Date.parse(expiry) : undefined,
      });
    }
    next = answer.nextLink;
  }
  return shown.toSorted((a, b) => a.time - b.time);
}

/** Ids of the backup jobs there are. */
export async function backupJobs(arm: Arm, { jobs }: Paths): Promise<Set<string>> {
  const ids = new Set<string>();
  for (let next: string | null | undefined = jobs; next;) {
    const answer: z.infer<typeof jobsAnswer> = jobsAnswer.parse(await arm.get(next));
    for (const { name, properties } of answer.value) if (properties.operation === 'Backup') ids.add(name);
    next = answer.nextLink;
  }
  return ids;
}

const ownJobsAnswer = z.object({
  value: z.array(z.object({ properties: z.object({ operation: z.string(), status: z.string() }) })),
  nextLink: z.string().nullish(),
});

/** How the vault's verifications stand, the newest first. */
export async function verifications(arm: Arm, { ownJobs }: Paths): Promise<string[]> {
  const statuses: string[] = [];
  for (let next: string | null | undefined = ownJobs; next;) {
    const answer: z.infer<typeof ownJobsAnswer> = ownJobsAnswer.parse(await arm.get(next));
    for (const { properties } of answer.value) if (properties.operation === 'Verify') statuses.push(properties.status);
    next = answer.nextLink;
  }
  return statuses;
}

/** Follows an operation to the job that it started. @throws DemoError with its own reason when it failed */
export async function jobOfOperation(arm: Arm, operationUrl: string): Promise<string> {
  const started = performance.now();
  for (let looks = 0; ; looks++) {
    const { status, properties, error } = operationAnswer.parse(await arm.get(operationUrl));
    if (status === 'Failed' || status === 'Canceled')
      throw new DemoError(`an operation is ${status}: ${error?.message ?? 'without a reason'}`);
    if (properties !== null && properties !== undefined) return properties.jobId;
    if (performance.now() - started > STALLED_MS) throw new DemoError(`an operation stays ${status}: ${operationUrl}`);
    await arm.pause(lookMs(looks));
  }
}

/**
 * Waits for the end of a job, telling at each look how it stands.
 * @throws DemoError when it ends otherwise than completed, or stands still
 */
export async function waitForJob(
  arm: Arm,
  at: Paths,
  id: string,
  onLook: (job: ShownJob) => void | Promise<void>,
): Promise<ShownJob> {
  let moved = performance.now();
  let last = -1;
  for (let looks = 0; ; looks++) {
    const { properties: job } = jobAnswer.parse(await arm.get(at.job(id)));
    await onLook(job);
    if (job.status === 'Completed') return job;
    if (job.status !== 'InProgress') {
      const reasons = job.errorDetails?.map(({ errorString }) => errorString).join('; ');
      throw new DemoError(`the ${job.operation} job ${id} is ${job.status}: ${reasons || 'without a reason'}`);
    }
    const progress = job.extendedInfo?.progressPercentage ?? 0;
    if (progress !== last) moved = performance.now();
    last = progress;
    if (performance.now() - moved > STALLED_MS)
      throw new DemoError(`the ${job.operation} job ${id} stands still at ${progress} %`);
    await arm.pause(lookMs(looks));
  }
}

/**
 * Looks until `isRight` says so; resolves what was seen then.
 * @throws DemoError with `what` when it never is
 */
export async function lookUntil<T>(
  arm: Arm,
  what: string,
  look: () => Promise<T>,
  isRight: (seen: T) => boolean,
): Promise<T> {
  const started = performance.now();
  for (let looks = 0; ; looks++) {
    const seen = await look();
    if (isRight(seen)) return seen;
    if (performance.now() - started > STALLED_MS) throw new DemoError(`waited in vain until ${what}`);
    await arm.pause(lookMs(looks));
  }
}
