import { cleanUp } from '../../shared/services/clean-up-run.ts';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import { undelete } from '../../shared/services/soft-delete.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { actOnce } from './actions.ts';
import { begin } from './rebuild.ts';
import { checkEnd, checkNamed } from './checks.ts';
import { type Machine, type Scene, isKnown, itemOf, jobsOf, setScene } from './scene.ts';
import { Workers } from './workers.ts';

/*
 * One random history of one or two VMs under the real services: disks are written, cleared, resized, attached, detached, re-created and
 * swapped, points are taken by hand and by schedule, expire and merge, restores run, jobs are cancelled, policies change, protection
 * stops and goes on, data is deleted softly and undeleted, while requests, timers and workers, whose clocks differ, interleave call by call, are killed, refused and lose
 * answers, get messages twice, and wake up long after their message was given to a twin. The model is plain: the disks' bytes at
 * each snapshot.
 *
 * Whenever nothing moves, all that the newest records lead to must be there. At the end the faults stop, everything that was begun is
 * let to its end, and the rules are checked: every job has ended, no item is held, every point that is left restores to its bytes, no
 * object and no snapshot is left over, and what is billed is what is there.
 */

const ACTIONS_EACH = 120;
/** Looks of the watch after which every job must have ended. */
const MOST_LOOKS = 12;

/** A broken rule: the seed repeats it. */
export class RuleBroken extends Error {}

/** Runs the history of a seed; resolves how often each thing has happened. @throws RuleBroken */
export async function runHistory(seed: number): Promise<ReadonlyMap<string, number>> {
  const scene = await setScene(seed);
  const workers = new Workers(scene);
  try {
    for (let i = 0; i < ACTIONS_EACH; i++) {
      await actOnce(scene, workers);
      if (scene.random.chance(0.2)) await checkNamed(scene);
    }
    await calmDown(scene, workers);
    await checkNamed(scene);
    await checkEnd(scene);
  } catch (cause) {
    const trace = scene.scheduler.trace.join('\n  ');
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new RuleBroken(`seed ${seed}: ${message}\n  ${trace}`, { cause });
  }
  return scene.counts;
}

/** The faults stop. Everything that was begun comes to its end, sleepers last. */
async function calmDown(scene: Scene, workers: Workers): Promise<void> {
  const { world } = scene;
  const isRebuilt = scene.counts.has('rebuild');
  // The request that was to bring the vault's row back may have been killed: without that row no job comes to its end.
  if (isRebuilt) await begin({ ...scene, ports: world.ports });
  await workers.drain();
  if (isRebuilt) await rebuildOnceMore(scene, workers);
  await endAll(scene, workers);
  // A rebuild leaves items stopped, and nothing of a stopped item expires: so some go on first.
  if (scene.random.chance(0.5))
    for (const vm of scene.machines) {
      if (!(await isKnown(scene, vm))) continue;
      await undeleteIfDeleted(scene, vm);
      await world.protect(vm.name);
    }
  world.clock.advance(20 * DAY_MS);
  await cleanUp(world.ports);
  await workers.drain();
  await world.sweep();
  for (const vm of scene.machines) if (await isKnown(scene, vm)) await undeleteIfDeleted(scene, vm);
}

/** So that its points can be restored, which shows what they hold. */
async function undeleteIfDeleted(scene: Scene, vm: Machine): Promise<void> {
  if ((await itemOf(scene, vm)).deferredDelete !== undefined) await undelete(scene.world.ports, VAULT, vm.key);
}

/**
 * A rebuild may have been killed as it began, may have looked before tables were lost again, or may have run for too long while nobody
 * looked. So somebody rebuilds once more, after it has ended.
 */
async function rebuildOnceMore(scene: Scene, workers: Workers): Promise<void> {
  const old = new Set((await jobsOf(scene)).map(({ jobId }) => jobId));
  // Of the other jobs one may be unknown to the watch until then: its mark was among what was lost.
  const isRebuild = ({ operation }: JobRow): boolean => operation === 'Rebuild';
  while (old.has(await begin({ ...scene, ports: scene.world.ports }))) await endAll(scene, workers, isRebuild);
}

/** Work and watch go on until no job is open, of those that are `meant`. */
async function endAll(scene: Scene, workers: Workers, meant?: (job: JobRow) => boolean): Promise<void> {
  const { world } = scene;
  for (let looks = 0; ; looks++) {
    await workers.drain();
    const open = (await jobsOf(scene)).filter((job) => !ENDED.has(job.status) && meant?.(job) !== false);
    if (looks > 0 && open.length === 0 && (meant !== undefined || !(await hasOpenMarks(scene)))) return;
    if (looks === MOST_LOOKS) {
      const rows = open.map((row) => ({ ...row, set: undefined }));
      throw new Error(`${open.length} jobs do not end: ${JSON.stringify(rows)}`);
    }
    world.clock.advance(20 * 60_000);
    await watchJobs(world.ports);
  }
}

async function hasOpenMarks({ world }: Scene): Promise<boolean> {
  for await (const _ of world.ports.catalog.openJobs.listAll()) return true;
  return false;
}
