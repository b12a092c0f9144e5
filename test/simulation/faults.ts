import type { Scene } from './scene.ts';
import type { Workers } from './workers.ts';

/** Something that goes wrong instead of, or with, the next turn. */
export interface Fault {
  readonly name: string;
  /** How likely it is at each turn. */
  readonly chance: number;
  /** False where there was nothing to go wrong. */
  readonly strike: (scene: Scene, workers: Workers) => Promise<boolean>;
}

export const FAULTS: readonly Fault[] = [
  { name: 'a process dies', chance: 0.004, strike: (_, workers) => workers.kill() },
  { name: 'a worker falls asleep', chance: 0.006, strike: (_, workers) => workers.forget() },
  { name: 'a message comes twice', chance: 0.006, strike: (_, workers) => workers.duplicate() },
  { name: 'an answer is lost', chance: 0.004, strike: ({ scheduler }) => scheduler.turn(undefined, 'lost') },
  { name: 'a call is refused', chance: 0.004, strike: ({ scheduler }) => scheduler.turn(undefined, 'refused') },
];

/** One turn of the work, or one fault. */
export async function turn(scene: Scene, workers: Workers): Promise<void> {
  let roll = scene.random.next();
  for (const { name, chance, strike } of FAULTS) {
    if (roll < chance) {
      if (await strike(scene, workers)) scene.count(name);
      return;
    }
    roll -= chance;
  }
  await scene.scheduler.turn();
}
