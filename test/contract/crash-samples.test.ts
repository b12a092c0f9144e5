import { createHash } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { StepName } from '../../shared/queue/steps.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { Random } from '../simulation/random.ts';
import { OperationGate, crashing } from '../support/crash.ts';
import { type Gate, Killed } from '../support/gated-ports.ts';
import { ADDRESS, DAY_MS, GROUP, VAULT } from '../support/life.ts';
import { type RealWorld, createRealWorld } from '../support/real-world.ts';
import { leftovers } from '../support/vault-map.ts';

/*
 * Every operation over the real adapters and a real storage server, its handler killed right before a call of a port, right after
 * it, or with only the answer lost: forty places for each operation, chosen by a seed. Ports in memory have all places of all
 * operations: test/services/crash-points.test.ts and its neighbours.
 *
 * One VM lives on from round to round. A backup is struck in its snapshots, in its units and in its commit, an expiry in its cleanup,
 * its merge, the compaction that follows and the deletes, and so on, twice each. After each round every point restores exactly, nothing that is
 * named is missing, and nothing is left over.
 *
 * STRATA_CRASH_SEED repeats a choice.
 */

const SEED = Number(process.env['STRATA_CRASH_SEED'] ?? '20261122');
const SAMPLES = 40;
/** Each operation is struck so often each time that it runs. */
const STRIKES = 2;
const LIVE_POINTS = 2;
/** So many rounds on one storage server: chains and listings stay short. */
const ROUNDS_OF_A_WORLD = 10;
const RETENTION_MS = 10 * DAY_MS;
const REGION_BLOCKS = 128;
const CHANGED_BLOCKS = 72;
/** One region whose layers have packs of their own, and one that goes into slabs. */
const SIZES = [REGION_BLOCKS * BLOCK_BYTES, 2 * BLOCK_BYTES + 512];
const VM = 'vm';
const KEY = itemKey(GROUP, VM);
/** Whatever packs have lost is worth a compaction. */
const EAGER = { liveBelow: 0.99, leastWasteBytes: 1, prices: { gibMonth: 1, write: 0, read: 0, gibRead: 0 } };

/** What is struck in one place: some steps of what a scene does. */
interface Operation {
  readonly name: string;
  readonly steps: readonly StepName[];
}

interface Scene {
  readonly operations: readonly Operation[];
  readonly run: (stage: Stage) => Promise<void>;
}

const SCENES: readonly Scene[] = [
  {
    operations: [
      { name: 'snapshot and plan', steps: ['take-snapshot', 'plan-transfer'] },
      { name: 'transfer', steps: ['transfer-unit'] },
      { name: 'commit', steps: ['commit'] },
    ],
    run: (stage) => stage.backUp(),
  },
  {
    operations: [
      { name: 'clean-up', steps: ['clean-vault', 'clean-item'] },
      { name: 'merge', steps: ['plan-merge', 'merge-unit'] },
      { name: 'compaction', steps: ['plan-compaction', 'compact-unit'] },
      { name: 'reclaim', steps: ['reclaim'] },
    ],
    run: (stage) => stage.expire(),
  },
  {
    operations: [{ name: 'restore', steps: ['plan-restore', 'restore-unit', 'finish-restore'] }],
    run: (stage) => stage.restoreOne(),
  },
  { operations: [{ name: 'sweep', steps: ['sweep-item'] }], run: (stage) => stage.world.sweep() },
  {
    operations: [{ name: 'verify', steps: ['plan-verify', 'verify-unit', 'finish-verify'] }],
    run: (stage) => stage.verify(),
  },
  { operations: [{ name: 'rebuild', steps: ['rebuild-vault', 'rebuild-item'] }], run: (stage) => stage.rebuild() },
];

/** One VM, what its disks held at each of its points, and what can be done to it. */
interface Stage {
  readonly world: RealWorld;
  backUp(): Promise<void>;
  /** The oldest point's time comes. */
  expire(): Promise<void>;
  /** The newest from its snapshots or the oldest from the vault, by turns. */
  restoreOne(): Promise<void>;
  /** All of it, and finds nothing. */
  verify(): Promise<void>;
  /** The rows of items and points are lost, and come back. */
  rebuild(): Promise<void>;
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
      const from = random.between(0, REGION_BLOCKS - CHANGED_BLOCKS) * BLOCK_BYTES;
      await os!.uploadPages(noise(versions), from, CHANGED_BLOCKS * BLOCK_BYTES);
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
    async verify() {
      const id = await startVerify(world.ports, VAULT, KEY, { deepPercent: 100 }, true);
      await world.drain();
      await world.settle();
      expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    },
    async rebuild() {
      const { items, points: pointRows } = world.ports.catalog;
      for (const table of [items, pointRows]) {
        for await (const { partition, key } of table.listAll()) await table.remove(partition, key);
      }
      const id = await startRebuild(world.ports, ADDRESS, { properties: {} });
      await world.drain();
      await world.settle();
      expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
      await world.protect(VM); // what was rebuilt comes back stopped
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

interface Place {
  readonly at: number;
  readonly moment: OperationGate['moment'];
}

/** Where an operation has been struck, and where it is going to be. */
class Tally {
  readonly operation: Operation;
  /** One for each strike of a run. */
  readonly gates = Array.from({ length: STRIKES }, () => new OperationGate());
  /** Calls in a run without a strike. */
  calls = 0;
  kills = 0;
  /** The last strikes, in words. */
  last: readonly string[] = [];
  #places: Place[] = [];
  #ms = 0;

  constructor(operation: Operation) {
    this.operation = operation;
  }

  choosePlaces(random: Random): void {
    this.#places = shuffled(placesOf(this.calls), random);
  }

  get left(): number {
    return this.#places.length;
  }

  get isDone(): boolean {
    return this.kills >= SAMPLES || this.left === 0;
  }

  strikeNext(): void {
    const places = this.gates.flatMap(() => (this.isDone ? [] : (this.#places.pop() ?? [])));
    for (const [i, gate] of this.gates.entries())
      gate.watch(this.operation.steps, places[i]?.at ?? 0, places[i]?.moment ?? 'before');
    this.last = places.map(({ at, moment }) => `${this.operation.name} ${moment} call ${at}`);
  }

  /** The operation has run, for so long. */
  count(ms: number): void {
    const [first] = this.gates;
    if (this.calls === 0 && first?.at === 0) this.calls = first.calls;
    this.kills += this.gates.filter(({ hasStruck }) => hasStruck).length;
    this.#ms += ms;
  }

  get line(): string {
    const { operation, kills, calls } = this;
    return `${operation.name.padEnd(18)} ${kills} kills among ${calls} calls, ${(this.#ms / 1000).toFixed(0)} s`;
  }
}

const placesOf = (calls: number): Place[] =>
  Array.from({ length: calls }, (_, i) =>
    (['before', 'after', 'lost'] as const).map((moment) => ({ at: i + 1, moment })),
  ).flat();

/** Bytes that do not compress. */
const noise = (seed: number): Buffer =>
  createHash('shake256', { outputLength: CHANGED_BLOCKS * BLOCK_BYTES })
    .update(`${seed}`)
    .digest();

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, order: random.next() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}

describe('handlers that are killed over real storage', () => {
  const random = new Random(SEED);
  const tallies = SCENES.flatMap(({ operations }) => operations.map((operation) => new Tally(operation)));
  const gates = tallies.flatMap((tally) => tally.gates);
  const gate: Gate = {
    before: (call) => gates.forEach((each) => each.before(call)),
    after: (call) => gates.forEach((each) => each.after(call)),
  };
  let world: RealWorld | undefined;
  afterAll(() => world?.stop());

  async function newStage(): Promise<Stage> {
    await world?.stop();
    for (const own of gates) own.watch([], 0, 'before');
    world = await createRealWorld({
      regionBytes: REGION_BLOCKS * BLOCK_BYTES,
      compaction: EAGER,
      wrapHandlers: crashing(gate),
      onStep: (step) => gates.forEach((each) => each.onStep(step)),
      onFailure(error) {
        if (!(error instanceof Killed) && !isBackupError(error)) throw error;
        for (const own of gates) own.revive();
      },
    });
    const stage = await createStage(world, random);
    for (let i = 0; i < LIVE_POINTS; i++) await stage.backUp();
    return stage;
  }

  it(`lose nothing at ${SAMPLES} places of each operation`, { timeout: 900_000 }, async () => {
    const began = performance.now();
    let stage = await newStage();
    const spent = { check: 0 };
    const runAll = async (): Promise<void> => {
      for (const { operations, run } of SCENES) {
        const own = tallies.filter(({ operation }) => operations.includes(operation));
        for (const tally of own) tally.strikeNext();
        const from = performance.now();
        await run(stage);
        for (const tally of own) tally.count(performance.now() - from);
      }
      const from = performance.now();
      await stage.check();
      spent.check += performance.now() - from;
    };
    await runAll(); // once without a strike, to count
    for (const tally of tallies) tally.choosePlaces(random);
    for (let round = 1; !tallies.every(({ isDone }) => isDone); round++) {
      if (round % ROUNDS_OF_A_WORLD === 0) stage = await newStage();
      await runAll().catch((cause: unknown) => {
        const strikes = tallies.flatMap(({ last }) => last);
        throw new Error(`seed ${SEED}, round ${round}: ${strikes.join('; ')}`, { cause });
      });
    }
    const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`;
    const lines = tallies.map(({ line }) => `  ${line}`);
    console.log(
      [`seed ${SEED}, ${seconds(performance.now() - began)}:`, ...lines, `  checks ${seconds(spent.check)}`].join('\n'),
    );
    for (const { operation, calls, kills, left } of tallies) {
      expect(calls, operation.name).toBeGreaterThan(0);
      if (left > 0) expect(kills, operation.name).toBeGreaterThanOrEqual(SAMPLES);
    }
  });
});
