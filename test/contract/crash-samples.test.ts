import { afterAll, describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { StepName } from '../../shared/queue/steps.ts';
import { Random } from '../simulation/random.ts';
import { OperationGate, crashing } from '../support/crash.ts';
import { Killed } from '../support/gated-ports.ts';
import { DAY_MS } from '../support/life.ts';
import { type RealWorld, createRealWorld } from '../support/real-world.ts';
import { leftovers } from '../support/vault-map.ts';

/*
 * Every operation over the real adapters and a real storage server, its handler killed right before a call of a port, right after
 * it, or with only the answer lost: forty places for each operation, chosen by a seed. test/services/crash-points.test.ts does
 * all of them, over ports in memory.
 *
 * One VM lives on from sample to sample: each backup adds a point, each expiry takes the oldest away. After each round of operations
 * every point restores exactly, nothing that is named is missing, and nothing is left over.
 *
 * STRATA_CRASH_SEED repeats a choice.
 */

const SEED = Number(process.env['STRATA_CRASH_SEED'] ?? '20261122');
const SAMPLES = 40;
const LIVE_POINTS = 2;
/** So many rounds on one storage server: chains and listings stay short. */
const ROUNDS_OF_A_WORLD = 10;
const RETENTION_MS = 10 * DAY_MS;
const SIZES = [5 * BLOCK_BYTES, 2 * BLOCK_BYTES + 512];
const VM = 'vm';

interface Operation {
  readonly name: string;
  readonly steps: readonly StepName[];
  readonly run: (stage: Stage) => Promise<void>;
}

const OPERATIONS: readonly Operation[] = [
  { name: 'snapshot and plan', steps: ['take-snapshot', 'plan-transfer'], run: (stage) => stage.backUp() },
  { name: 'clean-up', steps: ['clean-item'], run: (stage) => stage.expire() },
  { name: 'transfer', steps: ['transfer-unit'], run: (stage) => stage.backUp() },
  { name: 'merge', steps: ['plan-merge', 'merge-unit'], run: (stage) => stage.expire() },
  { name: 'commit', steps: ['commit'], run: (stage) => stage.backUp() },
  { name: 'reclaim', steps: ['reclaim'], run: (stage) => stage.expire() },
  { name: 'restore', steps: ['plan-restore', 'restore-unit', 'finish-restore'], run: (stage) => stage.restoreOne() },
  { name: 'sweep', steps: ['sweep-item'], run: (stage) => stage.world.sweep() },
];

/** One VM, what its disks held at each of its points, and what can be done to it. */
interface Stage {
  readonly world: RealWorld;
  backUp(): Promise<void>;
  /** The oldest point's time comes. */
  expire(): Promise<void>;
  /** The newest from its snapshots or the oldest from the vault, by turns. */
  restoreOne(): Promise<void>;
  /** Every point is what it should be, and nothing else is there. */
  check(): Promise<void>;
}

async function createStage(world: RealWorld, random: Random): Promise<Stage> {
  const disks = await world.createVm(VM, SIZES);
  await world.protect(VM);
  const images = new Map<PointId, Buffer[]>();
  let versions = 0;
  let restores = 0;

  const read = (urls: readonly string[]) => Promise.all(urls.map((url) => world.disk(url).downloadToBuffer()));
  const points = () => [...images.keys()].sort();
  const restore = async (point: PointId): Promise<void> => {
    const { job, disks: restored } = await world.restore(VM, point);
    await world.settle();
    expect(await world.job(job.jobId)).toMatchObject({ status: 'Completed', errors: [] });
    if (restored.length === 0) return; // it ended later, under the watch: the next look is at another job's disks
    const wanted = images.get(point)!;
    expect(restored.map((bytes, i) => Buffer.compare(bytes, wanted[i]!))).toEqual(wanted.map(() => 0));
  };

  return {
    world,
    async backUp() {
      versions++;
      const [os, data] = disks.map((url) => world.disk(url));
      await os!.uploadPages(Buffer.alloc(BLOCK_BYTES, versions), random.between(0, 4) * BLOCK_BYTES, BLOCK_BYTES);
      if (versions % 3 === 0) await os!.clearPages(random.between(0, 4) * BLOCK_BYTES, BLOCK_BYTES);
      await data!.uploadPages(Buffer.alloc(512, versions + 1), random.between(0, 64) * 512, 512);
      const image = await read(disks);
      const { jobId, point } = await world.backup(VM, world.clock.now() + RETENTION_MS + versions * 3 * DAY_MS);
      await world.settle();
      images.set(point!, image);
      expect(await world.job(jobId)).toMatchObject({ status: 'Completed', errors: [] });
    },
    async expire() {
      const oldest = (await world.points(VM))[0]!;
      world.clock.advance(Math.max(0, oldest.retainUntil! + 1000 - world.clock.now()));
      await world.cleanUp();
      await world.settle();
      if ((await world.points(VM)).some(({ point }) => point === oldest.point)) {
        await world.cleanUp(); // a merge that gave way, or never began, is taken up by the next cleanup
        await world.settle();
      }
      images.delete(oldest.point);
    },
    async restoreOne() {
      restores++;
      await restore(points().at(restores % 2 === 0 ? -1 : 0)!);
    },
    async check() {
      const rows = await world.points(VM);
      expect(rows.map(({ point }) => point)).toEqual(points());
      expect(leftovers(await world.vaultBlobs())).toEqual([]);
      const owned = rows.flatMap(({ set, instant }) => (instant === 'Valid' ? set.disks : []));
      const found = await Promise.all(disks.map((url) => world.snapshotsOf(url)));
      expect(found.flat().sort()).toEqual(owned.map(({ snapshot }) => snapshot).sort());
      expect(await world.messages()).toBe(0);
      for (const point of points()) await restore(point);
    },
  };
}

describe('handlers that are killed over real storage', () => {
  const random = new Random(SEED);
  const gate = new OperationGate();
  let world: RealWorld | undefined;
  afterAll(() => world?.stop());

  async function newStage(): Promise<Stage> {
    await world?.stop();
    gate.watch([], 0, 'before');
    world = await createRealWorld({
      wrapHandlers: crashing(gate),
      onStep: gate.onStep,
      onFailure(error) {
        if (!(error instanceof Killed) && !isBackupError(error)) throw error;
        gate.revive();
      },
    });
    const stage = await createStage(world, random);
    for (let i = 0; i < LIVE_POINTS; i++) await stage.backUp();
    return stage;
  }

  it(`lose nothing at ${SAMPLES} places of each operation`, async () => {
    const began = performance.now();
    let stage = await newStage();
    const tallies: Tally[] = [];
    for (const operation of OPERATIONS) {
      gate.watch(operation.steps, 0, 'before');
      await operation.run(stage);
      tallies.push({ operation, calls: gate.calls, places: shuffled(placesOf(gate.calls), random), kills: 0, ms: 0 });
    }
    const isDone = ({ kills, places }: Tally): boolean => kills >= SAMPLES || places.length === 0;
    for (let round = 1; !tallies.every(isDone); round++) {
      const done: string[] = [];
      try {
        if (round % ROUNDS_OF_A_WORLD === 0) stage = await newStage();
        for (const tally of tallies) {
          const { name, steps, run } = tally.operation;
          const { at, moment } = (isDone(tally) ? undefined : tally.places.pop()) ?? { at: 0, moment: 'before' };
          gate.watch(steps, at, moment);
          done.push(at === 0 ? name : `${name} killed ${moment} call ${at}`);
          const from = performance.now();
          await run(stage);
          tally.ms += performance.now() - from;
          if (gate.hasStruck) tally.kills++;
        }
        done.push('check');
        gate.watch([], 0, 'before');
        await stage.check();
      } catch (cause) {
        throw new Error(`seed ${SEED}, round ${round}: ${done.join('; ')} (${gate.trace.at(gate.at - 1)})`, { cause });
      }
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    console.log([`seed ${SEED}, ${seconds} s:`, ...tallies.map(lineOf)].join('\n'));
    for (const { operation, places, kills } of tallies)
      if (places.length > 0) expect(kills, operation.name).toBe(SAMPLES);
  });
});

interface Place {
  readonly at: number;
  readonly moment: OperationGate['moment'];
}

interface Tally {
  readonly operation: Operation;
  /** Calls in a run without a kill. */
  readonly calls: number;
  /** Where it has not been killed yet. */
  readonly places: Place[];
  kills: number;
  ms: number;
}

const placesOf = (calls: number): Place[] =>
  Array.from({ length: calls }, (_, i) =>
    (['before', 'after', 'lost'] as const).map((moment) => ({ at: i + 1, moment })),
  ).flat();

const lineOf = ({ operation, calls, kills, ms }: Tally): string =>
  `  ${operation.name.padEnd(18)} ${kills} kills among ${calls} calls in ${(ms / 1000).toFixed(1)} s`;

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, order: random.next() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
