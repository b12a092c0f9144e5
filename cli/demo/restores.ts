import { jobOfOperation, type ShownPoint, waitForJob } from './backups.ts';
import { DemoError } from './errors.ts';
import { LOCATION } from './machine.ts';
import { compareDisk, openAccount } from './page-blobs.ts';
import type { RestoreOutcome } from './result.ts';
import type { Run } from './run.ts';
import { sizeText, timeText } from './text.ts';

/** Where restored disks go. */
const ACCOUNT = 'stratadisks2';

/** Restores the newest point, the oldest and one in the middle at once, then compares every byte of every disk. */
export async function restoreSome(run: Run, points: readonly ShownPoint[]): Promise<RestoreOutcome[]> {
  const [oldest, middle, newest] = [points[0], points[Math.floor(points.length / 2)], points.at(-1)];
  const chosen = [...new Set([newest, middle, oldest])].filter((point) => point !== undefined);
  const folders = await restore(run, chosen);
  const outcomes: RestoreOutcome[] = [];
  for (const point of chosen) outcomes.push(...(await compare(run, point, folders.get(point.name) as string)));
  return outcomes;
}

/** Restores the disks of all `points`; resolves the container that each one's disks are in. */
async function restore(run: Run, points: readonly ShownPoint[]): Promise<Map<string, string>> {
  const { arm, at } = run;
  const step = run.screen.step(`Restore of ${points.length} points`);
  const folders = new Map<string, string>();
  const fractions = new Map<string, number>();
  const restoreOne = async ({ name }: ShownPoint): Promise<void> => {
    const operation = await arm.start('POST', at.restore(name), {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryPointId: name,
        recoveryType: 'RestoreDisks',
        region: LOCATION,
        sourceResourceId: at.vmId,
        storageAccountId: at.storageAccountId(ACCOUNT),
        createNewCloudService: false,
        originalStorageAccountOption: false,
      },
    });
    const job = await waitForJob(arm, at, await jobOfOperation(arm, operation), ({ extendedInfo }) => {
      fractions.set(name, (extendedInfo?.progressPercentage ?? 0) / 100);
      const sum = [...fractions.values()].reduce((total, each) => total + each, 0);
      step.progress(sum / points.length, `to ${ACCOUNT}`);
    });
    const folder = job.extendedInfo?.propertyBag?.['Config Blob Container Name'];
    if (folder === undefined) throw new DemoError('a restore job does not say in which container its disks are');
    folders.set(name, folder);
  };
  await Promise.all(points.map(restoreOne));
  step.done(points.map(({ label }) => `from ${label}`).join(', '));
  return folders;
}

async function compare(run: Run, point: ShownPoint, folder: string): Promise<RestoreOutcome[]> {
  const version = run.taken.find(({ name }) => name === point.name)?.version;
  if (version === undefined) throw new DemoError(`recovery point ${point.name} was made by nobody`);
  const step = run.screen.step(`  ${timeText(point.time)}`);
  const container = openAccount(run.endpoints, ACCOUNT).getContainerClient(folder);
  const total = run.disks.reduce((sum, { reference }) => sum + reference.usedBytes, 0);
  let done = 0;
  const outcomes: RestoreOutcome[] = [];
  for (const { image, reference } of run.disks) {
    const compared = await compareDisk(
      container.getPageBlobClient(`${image.name}.vhd`),
      image.sizeBytes,
      reference.at(version),
      (bytes) => step.progress((done += bytes) / total, `comparing ${image.name}`),
      run.signal,
    );
    outcomes.push({ point: point.name, disk: image.name, ...compared });
  }
  const colours = run.screen.paint;
  const isEqual = outcomes.every(({ equal }) => equal);
  step.done(`${sizeText(done)} compared, ${isEqual ? colours.green('every byte is right') : colours.red('NOT EQUAL')}`);
  return outcomes;
}
