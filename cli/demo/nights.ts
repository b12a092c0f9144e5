import { backupJobs, jobOfOperation, lookUntil, type ShownPoint, verifications, waitForJob } from './backups.ts';
import { DemoError } from './errors.ts';
import { applyWork, type DayOfWork, type DemoDisk, workOneDay } from './machine.ts';
import { DAY_MS, HOUR_MS, look, noteVaultBlobs, type Run, strip, type Taken } from './run.ts';
import type { Step } from './screen.ts';
import { sizeText, timeText } from './text.ts';

export const NIGHTS = 14;
export const RETENTION_DAYS = 7;
export const INSTANT_DAYS = 2;
/** When the policy backs up, in hours of the day (UTC). */
export const BACKUP_HOUR = 2;
/** When the platform cleans up (functions/timers/clean-up.ts). */
const CLEAN_UP_HOUR = 4.25;
/** When it has begun to verify what lies in the vault (functions/timers/verify-sample.ts). */
const VERIFY_HOUR = 5.5;
/** The backup on demand is taken at noon before this night. */
const ON_DEMAND_BEFORE = 8;
const ON_DEMAND_DAYS = 30;
const NOON_HOUR = 12;
/** The state of a point that takes room in the line of a night. */
const CHANGE_COLUMNS = 25;

/** Fourteen nightly backups and one on demand, each followed by a day of work, and the daily cleanups and verifications between them. */
export async function playNights(run: Run): Promise<void> {
  for (let night = 1; night <= NIGHTS; night++) {
    if (night === ON_DEMAND_BEFORE) await onDemand(run, night);
    await nightly(run, night);
    await cleanUp(run, night);
    await verify(run, night);
  }
}

/** The clock goes to the time of a night's backup; the platform's own timer finds that one is due. */
async function nightly(run: Run, night: number): Promise<void> {
  const step = run.screen.step(`Night ${String(night).padStart(2)}`);
  const begin = async (): Promise<string> => {
    await run.arm.moveClock(run.firstDayMs + (night - 1) * DAY_MS + BACKUP_HOUR * HOUR_MS);
    const jobs = await lookUntil(
      run.arm,
      `a backup begins in night ${night}`,
      () => backupJobs(run.arm, run.at),
      (ids) => ids.size > run.jobs.size,
    );
    return [...jobs].find((id) => !run.jobs.has(id)) as string;
  };
  await backup(run, 'night', begin, step, night === NIGHTS);
}

/** A backup at noon because somebody wants one, with an expiry of its own. */
async function onDemand(run: Run, beforeNight: number): Promise<void> {
  const step = run.screen.step('On demand');
  const noonMs = run.firstDayMs + (beforeNight - 2) * DAY_MS + NOON_HOUR * HOUR_MS;
  const begin = async (): Promise<string> => {
    await run.arm.moveClock(noonMs);
    const operation = await run.arm.start('POST', run.at.backupNow, {
      properties: {
        objectType: 'IaasVMBackupRequest',
        recoveryPointExpiryTimeInUTC: new Date(noonMs + ON_DEMAND_DAYS * DAY_MS).toISOString(),
      },
    });
    return jobOfOperation(run.arm, operation);
  };
  await backup(run, 'on demand', begin, step, false);
}

/**
 * One backup. As in life the VM works on: the next day's work is written to its disks as soon as the snapshots are taken, while the
 * transfer reads from them.
 */
async function backup(
  run: Run,
  trigger: Taken['trigger'],
  begin: () => Promise<string>,
  step: Step,
  isLast: boolean,
): Promise<void> {
  const { disks, signal } = run;
  const version = (disks[0] as DemoDisk).reference.versions - 1;
  const { work } = run;
  const known = new Set(run.taken.map(({ name }) => name));
  const snapshots = Promise.withResolvers<void>();

  const goOn = async (): Promise<void> => {
    if (isLast) return;
    const next = await workOneDay(disks, ++run.days);
    await snapshots.promise;
    await applyWork(next, signal);
    run.work = next;
  };
  const follow = async (): Promise<ShownPoint> => {
    const job = await begin();
    run.jobs.add(job);
    const lookOnce = async (fraction: number): Promise<ShownPoint | undefined> => {
      const points = await look(run);
      step.progress(fraction, strip(points));
      const made = points.filter(({ name }) => !known.has(name));
      if (made.length > 1) throw new DemoError(`a backup made ${made.length} recovery points; it must make one`);
      if (made.length === 1) snapshots.resolve();
      return made[0];
    };
    let seen: ShownPoint | undefined;
    await waitForJob(run.arm, run.at, job, async ({ extendedInfo }) => {
      const fraction = (extendedInfo?.progressPercentage ?? 0) / 100;
      if (seen === undefined) seen = await lookOnce(fraction);
      else step.progress(fraction, 'to the vault');
    });
    const made = await lookOnce(1);
    if (made === undefined) throw new DemoError('a backup has ended without a recovery point');
    return made;
  };

  const [point] = await Promise.all([follow(), goOn()]);
  if (point.note !== undefined) run.faults.push(`recovery point ${point.name}: ${point.note}`);
  run.taken.push(takenOf(point, trigger, version));
  await noteVaultBlobs(run);
  step.done(`${timeText(point.time)}  ${workText(work).padEnd(CHANGE_COLUMNS)} ${strip(await look(run))}`);
}

function takenOf(point: ShownPoint, trigger: Taken['trigger'], version: number): Taken {
  const { name, time, kind, sizeBytes, dataBlocks, clearedBlocks, storedBytes, expires } = point;
  return {
    name,
    time,
    trigger,
    kind,
    sizeBytes,
    dataBlocks,
    clearedBlocks,
    writtenBytes: storedBytes,
    expires,
    version,
  };
}

function workText(work: DayOfWork | undefined): string {
  if (work === undefined) return 'the first backup';
  return `${sizeText(work.changedBytes)} changed (${(work.share * 100).toFixed(1)} %)`;
}

/** The clock goes to the platform's daily cleanup; snapshots and points whose time is over have to go. */
async function cleanUp(run: Run, night: number): Promise<void> {
  const nowMs = run.firstDayMs + (night - 1) * DAY_MS + CLEAN_UP_HOUR * HOUR_MS;
  const before = await look(run);
  const newest = before.at(-1)?.name;
  const isOver = (ms: number | undefined, name: string): boolean => ms !== undefined && ms <= nowMs && name !== newest;
  const expired = new Set(before.filter(({ name, expires }) => isOver(expires, name)).map(({ name }) => name));
  const aged = new Set(
    before
      .filter(({ name, time, label }) => label !== 'Vault' && isOver(time + INSTANT_DAYS * DAY_MS, name))
      .map(({ name }) => name),
  );
  const step = expired.size > 0 || aged.size > 0 ? run.screen.step('  cleanup') : undefined;
  const startedMs = performance.now();
  await run.arm.moveClock(nowMs);
  const after = await lookUntil(
    run.arm,
    `cleanup has ended in night ${night}`,
    () => look(run),
    (points) => points.every(({ name, label }) => !expired.has(name) && (label === 'Vault' || !aged.has(name))),
  );
  if (expired.size > 0) run.mergeSeconds += (performance.now() - startedMs) / 1000;
  run.merges += expired.size;
  await noteVaultBlobs(run);
  step?.done(`${timeText(nowMs)}  ${cleanUpText(expired.size, aged.size).padEnd(CHANGE_COLUMNS)} ${strip(after)}`);
}

function cleanUpText(merged: number, aged: number): string {
  return [...(merged > 0 ? [`${merged} merged`] : []), ...(aged > 0 ? [`${aged} to vault only`] : [])].join(', ');
}

/** The clock goes to the platform's nightly verification: some of the vault is read and compared with its hashes, and with the snapshot. */
async function verify(run: Run, night: number): Promise<void> {
  const nowMs = run.firstDayMs + (night - 1) * DAY_MS + VERIFY_HOUR * HOUR_MS;
  const step = run.screen.step('  verification');
  await run.arm.moveClock(nowMs);
  const [newest] = await lookUntil(
    run.arm,
    `the verification has ended in night ${night}`,
    () => verifications(run.arm, run.at),
    (statuses) => statuses.length >= night && statuses[0] !== 'InProgress',
  );
  const isSound = newest === 'Completed';
  if (!isSound) run.faults.push(`the verification of night ${night} is ${newest}`);
  step.done(`${timeText(nowMs)}  ${isSound ? 'what was read is right' : 'something is wrong'}`);
}
