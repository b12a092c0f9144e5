import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerClient } from '@azure/storage-blob';
import { Arm, type Paths, paths } from './arm.ts';
import { backupJobs, jobOfOperation, listPoints, lookUntil, type ShownPoint, waitForJob } from './backups.ts';
import {
  changeDisks,
  createDisks,
  createMachine,
  type DemoDisk,
  type DisksChange,
  LOCATION,
  makeImages,
} from './machine.ts';
import type { DemoOptions, GivenDisk } from './options.ts';
import { blobSizes, compareDisk, openAccount } from './page-blobs.ts';
import type { DemoPlatform } from './platform.ts';
import type { DemoOutcome, PointHistory, RestoreOutcome } from './result.ts';
import type { Screen, Step } from './screen.ts';
import { sizeText, timeText } from './text.ts';

const NIGHTS = 14;
/** The backup on demand is taken at noon before this night. */
const ON_DEMAND_BEFORE = 8;
const RETENTION_DAYS = 7;
const INSTANT_DAYS = 2;
const ON_DEMAND_DAYS = 30;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** When the policy backs up, and when the platform cleans up (functions/timers/clean-up.ts), in hours of the day (UTC). */
const BACKUP_HOUR = 2;
const CLEAN_UP_HOUR = 4.25;
const NOON_HOUR = 12;
const NAMES = { vault: 'demo-vault', vm: 'demo-vm', policy: 'nightly' };
const RESOURCE_GROUP = 'demo';
const VAULT_ACCOUNT = 'devstoreaccount1';
const RESTORE_ACCOUNT = 'stratadisks2';

interface Taken extends Omit<PointHistory, 'labels' | 'now'> {
  /** The version of the disks that it has. */
  readonly version: number;
}

/** One run of the demo: what it works with, and what it has seen so far. */
interface Run {
  readonly endpoints: DemoPlatform['endpoints'];
  readonly arm: Arm;
  readonly at: Paths;
  readonly disks: readonly DemoDisk[];
  readonly screen: Screen;
  readonly signal: AbortSignal;
  readonly vault: ContainerClient;
  /** Midnight of the first night. */
  readonly firstDayMs: number;
  readonly taken: Taken[];
  readonly labels: Map<string, string[]>;
  readonly faults: string[];
  readonly vaultBlobs: Set<string>;
  readonly jobs: Set<string>;
  mergeSeconds: number;
  merges: number;
}

/** Plays the whole demo. @throws DemoError for what cannot go on; what is merely wrong is among the outcome's faults. */
export async function play(
  options: DemoOptions & { given: GivenDisk | undefined },
  folder: string,
  startPlatform: (dataDir: string) => Promise<DemoPlatform>,
  screen: Screen,
  signal: AbortSignal,
): Promise<Omit<DemoOutcome, 'totalSeconds'>> {
  const { platform, disks } = await prepare(options, folder, startPlatform, screen, signal);
  const run = await protect(platform, disks, screen, signal);
  for (let night = 1; night <= NIGHTS; night++) {
    if (night === ON_DEMAND_BEFORE) await onDemand(run, night);
    const change = night === 1 ? undefined : await changeDisks(disks, night, signal);
    await nightly(run, night, change);
    await cleanUp(run, night);
  }
  const points = await listPoints(run.arm, run.at);
  const restores = await restoreSome(run, points);
  return outcomeOf(run, points, restores);
}

async function prepare(
  options: DemoOptions & { given: GivenDisk | undefined },
  folder: string,
  startPlatform: (dataDir: string) => Promise<DemoPlatform>,
  screen: Screen,
  signal: AbortSignal,
) {
  const making = screen.step('Platform and disks');
  const imageFolder = join(folder, 'images');
  await mkdir(imageFolder);
  const starting = startPlatform(join(folder, 'platform'));
  const imaging = makeImages(imageFolder, options, options.given, (fraction, note) => making.progress(fraction, note));
  // Both end before a failure of one is told, so that nothing is left running.
  const [started, made] = await Promise.allSettled([starting, imaging]);
  if (started.status === 'rejected') throw started.reason;
  if (made.status === 'rejected') throw made.reason;
  const platform = started.value;
  const images = made.value;
  making.done(images.map(({ about, sizeBytes }) => `${about}, ${sizeText(sizeBytes)}`).join('; '));

  const writing = screen.step('Page blobs in two accounts');
  const disks = await createDisks(images, platform.endpoints, (fraction) => writing.progress(fraction), signal);
  writing.done(`${sizeText(disks.reduce((sum, { reference }) => sum + reference.usedBytes, 0))} in use`);
  return { platform, disks };
}

async function protect(
  { endpoints }: DemoPlatform,
  disks: readonly DemoDisk[],
  screen: Screen,
  signal: AbortSignal,
): Promise<Run> {
  const step = screen.step('VM, vault, policy, protection');
  const arm = new Arm(endpoints, signal);
  const at = paths(endpoints.subscriptionId, RESOURCE_GROUP, NAMES);
  // Always begun in the evening, so that no run of the demo meets the time of a backup or a cleanup while it prepares.
  const eveningMs = Math.ceil((await arm.now()) / DAY_MS + 1 / 6) * DAY_MS - 4 * HOUR_MS;
  await arm.moveClock(eveningMs);
  await createMachine(arm, at, disks);
  await arm.put(at.vault, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  await arm.put(at.policy, policyBody());
  const operation = await arm.start('PUT', at.item, {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      sourceResourceId: at.vmId,
      policyId: at.policyId,
    },
  });
  await waitForJob(arm, at, await jobOfOperation(arm, operation), () => undefined);
  const vault = await vaultContainer(endpoints, signal);
  step.done(`every night at ${BACKUP_HOUR}:00, kept ${RETENTION_DAYS} days, snapshots ${INSTANT_DAYS} days`);
  return {
    endpoints,
    arm,
    at,
    disks,
    screen,
    signal,
    vault,
    firstDayMs: eveningMs + 4 * HOUR_MS,
    taken: [],
    labels: new Map(),
    faults: [],
    vaultBlobs: new Set(),
    jobs: new Set(),
    mergeSeconds: 0,
    merges: 0,
  };
}

function policyBody(): object {
  const time = `2026-01-01T${String(BACKUP_HOUR).padStart(2, '0')}:00:00Z`;
  return {
    properties: {
      backupManagementType: 'AzureIaasVM',
      policyType: 'V1',
      timeZone: 'UTC',
      instantRpRetentionRangeInDays: INSTANT_DAYS,
      schedulePolicy: {
        schedulePolicyType: 'SimpleSchedulePolicy',
        scheduleRunFrequency: 'Daily',
        scheduleRunTimes: [time],
        scheduleWeeklyFrequency: 0,
      },
      retentionPolicy: {
        retentionPolicyType: 'LongTermRetentionPolicy',
        dailySchedule: { retentionTimes: [time], retentionDuration: { count: RETENTION_DAYS, durationType: 'Days' } },
      },
    },
  };
}

async function vaultContainer(endpoints: DemoPlatform['endpoints'], signal: AbortSignal): Promise<ContainerClient> {
  const service = openAccount(endpoints, VAULT_ACCOUNT);
  for await (const { name } of service.listContainers({ prefix: 'vault-', abortSignal: signal }))
    return service.getContainerClient(name);
  throw new Error('the vault has no container');
}

/** The clock goes to the time of a night's backup; the platform's own timer finds that one is due. */
async function nightly(run: Run, night: number, change: DisksChange | undefined): Promise<void> {
  const step = run.screen.step(`Night ${String(night).padStart(2)}`);
  await run.arm.moveClock(run.firstDayMs + (night - 1) * DAY_MS + BACKUP_HOUR * HOUR_MS);
  const jobs = await lookUntil(
    run.arm,
    `a backup begins in night ${night}`,
    () => backupJobs(run.arm, run.at),
    (ids) => ids.size > run.jobs.size,
  );
  await follow(run, [...jobs].find((id) => !run.jobs.has(id)) as string, 'night', change, step);
}

/** The disks change, and a backup is taken at noon because somebody wants one, with an expiry of its own. */
async function onDemand(run: Run, beforeNight: number): Promise<void> {
  const change = await changeDisks(run.disks, beforeNight + NIGHTS, run.signal);
  const step = run.screen.step('On demand');
  const noonMs = run.firstDayMs + (beforeNight - 2) * DAY_MS + NOON_HOUR * HOUR_MS;
  await run.arm.moveClock(noonMs);
  const operation = await run.arm.start('POST', run.at.backupNow, {
    properties: {
      objectType: 'IaasVMBackupRequest',
      recoveryPointExpiryTimeInUTC: new Date(noonMs + ON_DEMAND_DAYS * DAY_MS).toISOString(),
    },
  });
  await follow(run, await jobOfOperation(run.arm, operation), 'on demand', change, step);
}

/** Waits for a backup job and notes the point that it made. */
async function follow(
  run: Run,
  job: string,
  trigger: Taken['trigger'],
  change: DisksChange | undefined,
  step: Step,
): Promise<void> {
  run.jobs.add(job);
  await waitForJob(run.arm, run.at, job, async ({ extendedInfo }) => {
    const points = await look(run);
    step.progress((extendedInfo?.progressPercentage ?? 0) / 100, strip(points));
  });
  const known = new Set(run.taken.map(({ name }) => name));
  const points = await look(run);
  const made = points.filter(({ name }) => !known.has(name));
  const [point] = made;
  if (point === undefined || made.length > 1)
    throw new Error(`a backup made ${made.length} recovery points; it must make one`);
  if (point.note !== undefined) run.faults.push(`recovery point ${point.name}: ${point.note}`);
  run.taken.push({
    name: point.name,
    time: point.time,
    trigger,
    kind: point.kind,
    sizeBytes: point.sizeBytes,
    dataBlocks: point.dataBlocks,
    clearedBlocks: point.clearedBlocks,
    writtenBytes: point.storedBytes,
    expires: point.expires,
    version: (run.disks[0] as DemoDisk).reference.versions - 1,
  });
  for (const name of (await blobSizes(run.vault, run.signal)).keys()) run.vaultBlobs.add(name);
  const changed =
    change === undefined
      ? 'first backup'
      : `${sizeText(change.changedBytes)} changed (${(change.share * 100).toFixed(1)} %)`;
  step.done(`${timeText(point.time)}  ${changed.padEnd(24)} ${strip(points)}`);
}

/** The clock goes to the platform's daily cleanup; snapshots and points whose time is over have to go. */
async function cleanUp(run: Run, night: number): Promise<void> {
  const nowMs = run.firstDayMs + (night - 1) * DAY_MS + CLEAN_UP_HOUR * HOUR_MS;
  const before = await look(run);
  const newest = before.at(-1)?.name;
  const isOver = (ms: number | undefined, name: string): boolean => ms !== undefined && ms <= nowMs && name !== newest;
  const expired = before.filter(({ name, expires }) => isOver(expires, name));
  const aged = before.filter(
    ({ name, time, label }) => label !== 'Vault' && isOver(time + INSTANT_DAYS * DAY_MS, name),
  );
  const step = expired.length > 0 || aged.length > 0 ? run.screen.step('  cleanup') : undefined;
  const startedMs = performance.now();
  await run.arm.moveClock(nowMs);
  const after = await lookUntil(
    run.arm,
    `cleanup has ended in night ${night}`,
    () => look(run),
    (points) =>
      !points.some(({ name }) => expired.some((gone) => gone.name === name)) &&
      points.every(({ name, label }) => label === 'Vault' || !aged.some((old) => old.name === name)),
  );
  run.merges += expired.length;
  if (expired.length > 0) run.mergeSeconds += (performance.now() - startedMs) / 1000;
  for (const name of (await blobSizes(run.vault, run.signal)).keys()) run.vaultBlobs.add(name);
  step?.done(`${''.padEnd(16)}  ${cleanUpText(expired.length, aged.length).padEnd(24)} ${strip(after)}`);
}

function cleanUpText(merged: number, aged: number): string {
  const parts = [
    ...(merged > 0 ? [`${merged} expired and merged`] : []),
    ...(aged > 0 ? [`${aged} to vault only`] : []),
  ];
  return parts.join(', ');
}

/** Lists the points and notes the labels that they have now. */
async function look(run: Run): Promise<ShownPoint[]> {
  const points = await listPoints(run.arm, run.at);
  for (const { name, label } of points) {
    const seen = run.labels.get(name) ?? [];
    if (seen.at(-1) !== label) run.labels.set(name, [...seen, label]);
  }
  return points;
}

/** A sign for each point, oldest first. */
function strip(points: readonly ShownPoint[]): string {
  return points.map(({ label }) => SIGNS[label] ?? '?').join('');
}

const SIGNS: Readonly<Record<string, string>> = { Snapshot: '○', 'Snapshot and vault': '◐', Vault: '●' };
export const LEGEND = '○ Snapshot   ◐ Snapshot and vault   ● Vault';

/** Restores the newest point, the oldest and one in the middle, and compares every byte of every disk. */
async function restoreSome(run: Run, points: readonly ShownPoint[]): Promise<RestoreOutcome[]> {
  const chosen = [...new Set([points.at(-1), points[0], points[Math.floor(points.length / 2)]])];
  const outcomes: RestoreOutcome[] = [];
  for (const point of chosen) {
    if (point !== undefined) outcomes.push(...(await restoreOne(run, point)));
  }
  return outcomes;
}

async function restoreOne(run: Run, point: ShownPoint): Promise<RestoreOutcome[]> {
  const taken = run.taken.find(({ name }) => name === point.name);
  if (taken === undefined) throw new Error(`recovery point ${point.name} was made by nobody`);
  const step = run.screen.step(`Restore of ${timeText(point.time)}`);
  const operation = await run.arm.start('POST', run.at.restore(point.name), {
    properties: {
      objectType: 'IaasVMRestoreRequest',
      recoveryPointId: point.name,
      recoveryType: 'RestoreDisks',
      region: LOCATION,
      sourceResourceId: run.at.vmId,
      storageAccountId: run.at.storageAccountId(RESTORE_ACCOUNT),
      createNewCloudService: false,
      originalStorageAccountOption: false,
    },
  });
  const job = await waitForJob(run.arm, run.at, await jobOfOperation(run.arm, operation), ({ extendedInfo }) =>
    step.progress((extendedInfo?.progressPercentage ?? 0) / 100, `from ${point.label}`),
  );
  const folder = job.extendedInfo?.propertyBag?.['Config Blob Container Name'];
  if (folder === undefined) throw new Error('the restore job does not say where the disks are');
  const restored = openAccount(run.endpoints, RESTORE_ACCOUNT).getContainerClient(folder);
  const outcomes: RestoreOutcome[] = [];
  for (const { image, reference } of run.disks) {
    const expected = reference.at(taken.version);
    const blob = restored.getPageBlobClient(`${image.name}.vhd`);
    const total = reference.usedBytes;
    let done = 0;
    const compared = await compareDisk(
      blob,
      image.sizeBytes,
      expected,
      (bytes) => step.progress((done += bytes) / total, `comparing ${image.name}`),
      run.signal,
    );
    outcomes.push({ point: point.name, disk: image.name, ...compared });
  }
  const read = outcomes.reduce((sum, { readBytes }) => sum + readBytes, 0);
  step.done(
    outcomes.every(({ equal }) => equal)
      ? `${point.label}: ${sizeText(read)} compared, all equal`
      : run.screen.paint.red(`${point.label}: NOT EQUAL`),
  );
  return outcomes;
}

function outcomeOf(
  run: Run,
  points: readonly ShownPoint[],
  restores: readonly RestoreOutcome[],
): Omit<DemoOutcome, 'totalSeconds'> {
  const { taken, labels, faults, vaultBlobs, mergeSeconds, merges } = run;
  const history = taken.map(({ version: _version, ...point }): PointHistory => {
    const now = points.find(({ name }) => name === point.name);
    return { ...point, labels: labels.get(point.name) ?? [], now };
  });
  return {
    points: history,
    restores,
    faults: [...faults, ...missing(run, history)],
    vaultWrites: vaultBlobs.size,
    mergeSeconds,
    merges,
  };
}

/** What the demo set out to show and did not. */
function missing({ merges }: Run, points: readonly PointHistory[]): string[] {
  const faults: string[] = [];
  for (const label of ['Snapshot and vault', 'Vault'])
    if (!points.some(({ labels }) => labels.includes(label))) faults.push(`no recovery point was seen as ${label}`);
  if (merges === 0) faults.push('no recovery point expired');
  return faults;
}
