import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerClient } from '@azure/storage-blob';
import { Arm, paths } from './arm.ts';
import { jobOfOperation, listPoints, type ShownPoint, waitForJob } from './backups.ts';
import { DemoError } from './errors.ts';
import type { DiskImage } from './image.ts';
import { createDisks, createMachine, type DemoDisk, LOCATION, makeImages } from './machine.ts';
import { BACKUP_HOUR, INSTANT_DAYS, playNights, RETENTION_DAYS } from './nights.ts';
import type { DemoOptions, GivenDisk } from './options.ts';
import { openAccount } from './page-blobs.ts';
import type { DemoPlatform } from './platform.ts';
import { restoreSome } from './restores.ts';
import type { DemoOutcome, PointHistory, RestoreOutcome } from './result.ts';
import { DAY_MS, HOUR_MS, type Run } from './run.ts';
import type { Screen } from './screen.ts';
import { sizeText } from './text.ts';

const NAMES = { vault: 'demo-vault', vm: 'demo-vm', policy: 'nightly' };
const RESOURCE_GROUP = 'demo';
const VAULT_ACCOUNT = 'devstoreaccount1';
/** The demo begins so long before midnight. */
const EVENING_MS = 4 * HOUR_MS;

/** What the demo is asked to do, `--disk` looked at. */
export type DemoTask = DemoOptions & { readonly given: GivenDisk | undefined };

/**
 * Plays the whole demo with its data in `folder`.
 * @throws DemoError for what keeps it from going on; what is merely wrong is among the outcome's faults
 */
export async function play(
  task: DemoTask,
  folder: string,
  startPlatform: (dataDir: string) => Promise<DemoPlatform>,
  screen: Screen,
  signal: AbortSignal,
): Promise<Omit<DemoOutcome, 'totalSeconds'>> {
  await using files = new AsyncDisposableStack();
  const { platform, images } = await prepare(task, folder, startPlatform, screen, signal);
  for (const image of images) files.defer(() => image.close());
  const disks = await writeDisks(images, platform, screen, signal);
  const run = await protect(platform, disks, screen, signal);
  await playNights(run);
  const points = await listPoints(run.arm, run.at);
  return outcomeOf(run, points, await restoreSome(run, points));
}

async function prepare(
  task: DemoTask,
  folder: string,
  startPlatform: (dataDir: string) => Promise<DemoPlatform>,
  screen: Screen,
  signal: AbortSignal,
): Promise<{ platform: DemoPlatform; images: DiskImage[] }> {
  const making = screen.step('Platform and disks');
  const imageFolder = join(folder, 'images');
  await mkdir(imageFolder);
  // Both end before a failure of one is told, so that nothing is left running.
  const [started, made] = await Promise.allSettled([
    startPlatform(join(folder, 'platform')),
    makeImages(imageFolder, task, task.given, (fraction, note) => {
      signal.throwIfAborted();
      making.progress(fraction, note);
    }),
  ]);
  if (started.status === 'rejected') throw started.reason;
  if (made.status === 'rejected') throw made.reason;
  const images = made.value;
  making.done(`on ${started.value.endpoints.https}`);
  for (const { name, about, sizeBytes } of images)
    screen.line(`  ${screen.paint.bold(name.padEnd(7))} ${about}, ${sizeText(sizeBytes)}`);
  return { platform: started.value, images };
}

async function writeDisks(
  images: readonly DiskImage[],
  { endpoints }: DemoPlatform,
  screen: Screen,
  signal: AbortSignal,
): Promise<DemoDisk[]> {
  const step = screen.step('Page blobs in two accounts');
  const disks = await createDisks(images, endpoints, (fraction) => step.progress(fraction), signal);
  step.done(`${sizeText(disks.reduce((sum, { reference }) => sum + reference.usedBytes, 0))} in use`);
  return disks;
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
  const firstDayMs = Math.ceil(((await arm.now()) + EVENING_MS) / DAY_MS) * DAY_MS;
  await arm.moveClock(firstDayMs - EVENING_MS);
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
  step.done(`nightly at ${BACKUP_HOUR}:00, points ${RETENTION_DAYS} days, snapshots ${INSTANT_DAYS} days`);
  return {
    endpoints,
    arm,
    at,
    disks,
    screen,
    signal,
    vault,
    firstDayMs,
    taken: [],
    labels: new Map(),
    faults: [],
    vaultBlobs: new Set(),
    jobs: new Set(),
    work: undefined,
    days: 0,
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

/** The platform is new, so the only vault's container is the demo's. */
async function vaultContainer(endpoints: DemoPlatform['endpoints'], signal: AbortSignal): Promise<ContainerClient> {
  const service = openAccount(endpoints, VAULT_ACCOUNT);
  for await (const { name } of service.listContainers({ prefix: 'vault-', abortSignal: signal }))
    return service.getContainerClient(name);
  throw new DemoError('the vault has no container');
}

function outcomeOf(
  run: Run,
  points: readonly ShownPoint[],
  restores: readonly RestoreOutcome[],
): Omit<DemoOutcome, 'totalSeconds'> {
  const { taken, labels, faults, vaultBlobs, mergeSeconds, merges } = run;
  const history = taken.map(({ version: _version, ...point }): PointHistory => {
    const shown = points.find(({ name }) => name === point.name);
    const now = shown && { label: shown.label, tier: shown.tier, storedBytes: shown.storedBytes };
    return { ...point, labels: labels.get(point.name) ?? [], now };
  });
  return {
    points: history,
    restores,
    faults: [...faults, ...missing(merges, history)],
    vaultWrites: vaultBlobs.size,
    mergeSeconds,
    merges,
  };
}

/** What the demo set out to show and did not. */
function missing(merges: number, points: readonly PointHistory[]): string[] {
  const faults = ['Snapshot and vault', 'Vault'].flatMap((label) =>
    points.some(({ labels }) => labels.includes(label)) ? [] : [`no recovery point was seen as ${label}`],
  );
  return merges === 0 ? [...faults, 'no recovery point expired and merged'] : faults;
}
