import { setTimeout as sleep } from 'node:timers/promises';
import { startWorker } from '../../local/platform/start.ts';
import type { Worker } from '../../local/platform/worker.ts';
import { type ArmPlatform, startArmPlatform } from './arm-platform.ts';
import type { Victim } from './killer.ts';

/** A platform whose own Functions host works beside a second one. Whoever is killed is started again. */
export interface Fleet {
  readonly platform: ArmPlatform;
  /** The host of that process id, unless it has died so often in the last minute that the platform would give it up. */
  victim(pid: number): Victim | undefined;
  /** Resolves when both hosts run. */
  whole(): Promise<void>;
  stop(): Promise<void>;
}

/** The platform starts its host again five times within a minute. */
const MOST_IN_A_MINUTE = 4;
const MINUTE_MS = 60_000;

export async function startFleet(
  env: Record<string, string>,
  output: (line: string, pid: number) => void,
): Promise<Fleet> {
  const platform = await startArmPlatform('completed', { env, output });
  const { dataDir } = platform;
  let worker: Worker | undefined;
  let isStopping = false;
  let following: Promise<void> = Promise.resolve();
  const follow = async (): Promise<void> => {
    for (;;) {
      if (isStopping) return;
      const started = await startWorker({ dataDir, output });
      worker = started;
      if (isStopping) await started.stop();
      await started.ended;
      worker = undefined;
    }
  };
  const deaths: number[] = [];
  const mayDie = (): boolean => deaths.filter((at) => performance.now() - at < MINUTE_MS).length < MOST_IN_A_MINUTE;
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    for (const deadline = performance.now() + MINUTE_MS; !condition(); await sleep(20))
      if (performance.now() > deadline) throw new Error(`after a minute ${what}`);
  };
  following = follow();
  following.catch(() => undefined); // told by `whole` and `stop`

  const fleet: Fleet = {
    platform,
    victim(pid) {
      const current = worker;
      if (pid === current?.pid) return { name: 'worker', pid, kill: () => current.kill() };
      if (pid !== platform.hostPid || !mayDie()) return undefined;
      return {
        name: 'platform',
        pid,
        async kill() {
          deaths.push(performance.now());
          process.kill(pid, 'SIGKILL');
          await until('a killed host still runs', () => platform.hostPid !== pid);
        },
      };
    },
    whole: () =>
      Promise.race([
        following,
        until('a host is missing', () => worker !== undefined && platform.hostPid !== undefined),
      ]),
    async stop() {
      isStopping = true;
      await worker?.stop();
      await following;
      await platform.stop();
    },
  };
  await fleet.whole();
  return fleet;
}
