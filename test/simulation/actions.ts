import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import { protect, stopProtection } from '../../shared/services/protection.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { softDelete, undelete } from '../../shared/services/soft-delete.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { cancelJob, watchJobs } from '../../shared/services/watch.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { changeDisks, loseSnapshots, writeDisk } from './disks.ts';
import { turn } from './faults.ts';
import { type Machine, type Scene, isKnown, itemOf, jobsOf } from './scene.ts';
import { verify } from './verify.ts';
import { rebuild } from './rebuild.ts';
import type { Workers } from './workers.ts';

/** Something that happens in a history, to one of its VMs or to all. */
interface Action {
  /** Counted under this name when it begins; what it asks of the services goes through `workers.request`. */
  readonly name: string;
  /** Its share among all actions. */
  readonly weight: number;
  readonly act: (scene: Scene, workers: Workers, vm: Machine) => Promise<void>;
}

/** One line for each action. */
export const ACTIONS: readonly Action[] = [
  { name: 'work', weight: 35, act: work },
  { name: 'write a disk', weight: 20, act: (scene, _, vm) => writeDisk(scene, vm) },
  { name: 'change disks', weight: 6, act: (scene, _, vm) => changeDisks(scene, vm) },
  { name: 'lose snapshots', weight: 2, act: (scene, _, vm) => loseSnapshots(scene, vm) },
  { name: 'back up', weight: 12, act: backUp },
  { name: 'restore', weight: 5, act: restore },
  { name: 'let time pass', weight: 10, act: letTimePass },
  { name: 'tick during a transfer', weight: 4, act: tickDuringTransfer },
  { name: 'sweep', weight: 2, act: ({ ports }, workers) => workers.request('sweep', () => sweep(ports)) },
  { name: 'watch', weight: 2, act: ({ ports }, workers) => workers.request('watch', () => watchJobs(ports)) },
  { name: 'verify', weight: 4, act: verify },
  { name: 'change the policy', weight: 2, act: changePolicy },
  { name: 'compact', weight: 3, act: compact },
  { name: 'rebuild', weight: 1, act: rebuild },
  { name: 'cancel', weight: 2, act: cancel },
  { name: 'choose disks', weight: 3, act: chooseDisks },
  { name: 'stop or go on', weight: 2, act: stopOrGoOn },
  { name: 'delete or undelete', weight: 1, act: deleteOrUndelete },
];

const WHOLE = ACTIONS.reduce((sum, { weight }) => sum + weight, 0);

/** The next action of a history. */
export async function actOnce(scene: Scene, workers: Workers): Promise<void> {
  const vm = scene.random.pick(scene.machines);
  let roll = scene.random.next() * WHOLE;
  const action = ACTIONS.find(({ weight }) => (roll -= weight) < 0) ?? ACTIONS[0]!;
  if (!(await isKnown(scene, vm))) return work(scene, workers);
  scene.count(action.name);
  await action.act(scene, workers, vm);
}

/** Lets workers do some calls, with faults. */
async function work(scene: Scene, workers: Workers): Promise<void> {
  const turns = scene.random.between(5, 120);
  for (let i = 0; i < turns; i++) {
    await workers.reap();
    if (scene.random.chance(0.4)) await workers.take();
    await turn(scene, workers);
  }
}

function backUp({ random, world, ports, count }: Scene, workers: Workers, { key }: Machine): Promise<void> {
  const retainUntil = world.clock.now() + random.between(1, 8) * DAY_MS;
  return workers.request('backup', async () => {
    await startBackup(ports, VAULT, key, { kind: 'onDemand', retainUntil });
    count('backups begun');
  });
}

/** Mostly hours or days, sometimes more than a year; never back. */
async function letTimePass({ random, world, ports }: Scene, workers: Workers): Promise<void> {
  world.clock.advance(random.chance(0.1) ? 400 * DAY_MS : random.between(1, 3 * DAY_MS));
  if (random.chance(0.5)) await workers.request('take-due', () => takeDue(ports));
  if (random.chance(0.7)) await workers.request('clean-up', () => cleanUp(ports));
}

/** A day passes while a backup transfers, or waits to. */
async function tickDuringTransfer(scene: Scene, workers: Workers, vm: Machine): Promise<void> {
  const { world, ports, count } = scene;
  const { activeJob } = await itemOf(scene, vm);
  const job = activeJob && (await world.ports.catalog.jobs.get(VAULT, activeJob))?.row;
  if (job?.status !== 'InProgress' || job.set === undefined) return;
  world.clock.advance(DAY_MS);
  await workers.request('take-due', () => takeDue(ports));
  if ((await isKnown(scene, vm)) && (await itemOf(scene, vm)).waiting !== undefined) count('backups wait');
}

async function restore({ random, world, ports, count }: Scene, workers: Workers, vm: Machine): Promise<void> {
  const points = await world.points(vm.name);
  if (points.length === 0) return;
  const { point } = random.pick(points);
  const groupId = '/subscriptions/sub/resourceGroups/restored';
  const managed = random.chance(0.5) ? { groupId, all: random.chance(0.5) } : undefined;
  await workers.request('restore', async () => {
    await startRestore(ports, VAULT, vm.key, point, { accountId: '/x/restored', managed });
    count('restores begun');
  });
}

function changePolicy({ random, world }: Scene): Promise<void> {
  return world.setPolicy({
    dailyRetentionDays: random.between(1, 9),
    instantRetentionDays: random.between(1, 4),
    minuteOfDay: random.between(0, 1439),
  });
}

async function compact({ ports, count }: Scene, workers: Workers, { key }: Machine): Promise<void> {
  await workers.request('compact', async () => {
    if ((await startCompaction(ports, VAULT, key, 2 ** 30)).started) count('compactions begun');
  });
}

async function cancel(scene: Scene, workers: Workers): Promise<void> {
  const { random, ports, count } = scene;
  const running = (await jobsOf(scene)).filter(
    ({ status, operation }) => status === 'InProgress' && (operation === 'Backup' || operation === 'Restore'),
  );
  if (running.length === 0) return;
  const { jobId } = random.pick(running);
  await workers.request('cancel', async () => {
    await cancelJob(ports, { vault: VAULT, jobId });
    count('jobs cancelled');
  });
}

/** From the next backup on some data disks are left out, or all are in again. */
async function chooseDisks(scene: Scene, workers: Workers, vm: Machine): Promise<void> {
  const { random, ports } = scene;
  const { protectionState, vmResourceId: resourceId } = await itemOf(scene, vm);
  if (protectionState === 'ProtectionStopped') return;
  const luns = [0, 1, 2, 3, 4].filter(() => random.chance(0.4));
  const selection = random.chance(0.3) ? 'all' : { luns, isInclusion: random.chance(0.4) };
  await workers.request('choose disks', () =>
    protect(ports, VAULT, { resourceId, resourceGroup: 'app', vmName: vm.name }, 'nightly', selection),
  );
}

async function stopOrGoOn(scene: Scene, workers: Workers, vm: Machine): Promise<void> {
  const { ports } = scene;
  const { protectionState, vmResourceId: resourceId } = await itemOf(scene, vm);
  if (protectionState === 'ProtectionStopped') {
    await workers.request('resume', () =>
      protect(ports, VAULT, { resourceId, resourceGroup: 'app', vmName: vm.name }, 'nightly'),
    );
  } else await workers.request('stop', () => stopProtection(ports, VAULT, vm.key));
}

async function deleteOrUndelete(scene: Scene, workers: Workers, vm: Machine): Promise<void> {
  const { ports } = scene;
  const { deferredDelete } = await itemOf(scene, vm);
  if (deferredDelete === undefined) {
    await workers.request('delete', () => softDelete(ports, VAULT, vm.key, 'somebody'));
  } else await workers.request('undelete', () => undelete(ports, VAULT, vm.key));
}
