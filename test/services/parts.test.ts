import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import type { Layout } from '../../shared/domain/layout.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { putBy } from '../support/put-by.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { leftovers, liveManifests, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { EAGER, compact, sparse } from './compact-stage.ts';
import { lose, rebuild } from './rebuild-stage.ts';
import { B, KEY, backUpOf, block, container, live, restoresExactly, stage, start, until, vaultOnly } from './stage.ts';
import { takeSteps, verify } from './verify-stage.ts';

/*
 * The life of a vault whose spans are small: plans and manifests all have parts, and everything else is as without them. Regions are of
 * one block, so that the disk of six blocks has six spans, or three.
 */

const parted = (layout: Partial<Layout> = {}) => ({
  regionBytes: B,
  layout: { spanRegions: 1, inlineRegions: 0, thinBytes: -1, checkpointDepth: 99, ...layout },
});

/** The names of the parts of each live point's manifest, in short: disk left out, first region and attempt. */
const partsOf = (world: World): string[][] => {
  const blobs = container(world);
  return liveManifests(blobs).map(({ disks }) => disks.flatMap(({ parts = [] }) => parts.map(({ name }) => name)));
};
const firsts = (world: World): number[][] =>
  liveManifests(container(world)).map(({ disks }) =>
    disks.flatMap(({ parts = [] }) => parts.map(({ first }) => first)),
  );

const planNames = (world: World): string[] =>
  [...container(world).keys()].filter((name) => name.includes('/plans/')).sort();

async function expire(world: World, days: number): Promise<void> {
  world.clock.advance(days * DAY_MS);
  await world.cleanUp();
}

/** Nothing is left over, every byte is explained, and every point restores exactly. `images` may have more points than live. */
async function isSound(world: World, images: ReadonlyMap<PointId, Uint8Array>): Promise<void> {
  expect(leftovers(container(world))).toEqual([]);
  await assertBilled(world);
  await restoresExactly(world, images);
}

describe.each([
  { spanRegions: 1, thinBytes: -1, foldRatio: 64 },
  { spanRegions: 2, thinBytes: 8 * B, foldRatio: 64 },
  { spanRegions: 2, thinBytes: B, foldRatio: 1 },
])('a vault with spans of $spanRegions regions, thin up to $thinBytes bytes, folds at $foldRatio,', (layout) => {
  it('goes through backups, merges, a sweep, a verification and a rebuild as any other', async () => {
    const { world, disk, images, backUp } = await stage(parted({ ...layout, checkpointDepth: 1 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.write(disk, B, block(2));
    await world.disks.write(disk, 4 * B, block(3));
    await backUp(4);
    await world.disks.clear(disk, { start: B, end: 2 * B });
    await world.disks.write(disk, 5 * B, block(4));
    await backUp(8);
    await world.disks.write(disk, 0, block(5, 2));
    await backUp(60);
    expect(liveManifests(container(world)).every(({ format }) => format === 3)).toBe(true);
    await isSound(world, images);
    for (const days of [3, 2, 5]) {
      await expire(world, days);
      await isSound(world, images);
    }
    expect(live(world)).toHaveLength(1);
    await world.disks.write(disk, 3 * B, block(6));
    await backUp(60);
    await isSound(world, images);
    expect(await verify(world)).toMatchObject({ status: 'Completed', errors: [] });
    await lose(world);
    expect((await rebuild(world)).job).toMatchObject({ status: 'Completed', errors: [] });
    await isSound(world, images);
  });

  it('is left clean by a backup that was cancelled', async () => {
    const { world, disk, backUp } = await stage(parted(layout));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await cancelJob(world.ports, { vault: VAULT, jobId: await underWay(world, disk) });
    await world.drain();
    await world.sweep();
    expect(planNames(world)).toEqual([]);
    expect(leftovers(container(world))).toEqual([]);
    await assertBilled(world);
  });
});

/** A backup that has written some of its objects. */
async function underWay(world: World, disk: string) {
  await world.disks.write(disk, 0, block(77, 6));
  const id = await start(world);
  for (let units = 0; units < 2; units++) await runStep(world.ports, (await until(world, 'transfer-unit')).step);
  expect(planNames(world).length).toBeGreaterThan(1);
  return id;
}

it('a compaction rewrites the spans that it changes, and no others', async () => {
  const { world, images, allow } = await sparse(3, {
    layout: { spanRegions: 1, inlineRegions: 0, thinBytes: -1, checkpointDepth: 1 },
  });
  await isSound(world, images);
  const [before] = partsOf(world);
  expect(before).toHaveLength(3);
  allow();
  await compact(world, 3 * 16 * B); // for one region
  await world.drain();
  const [after] = partsOf(world);
  expect(newestRecord(container(world)).kind).toBe('compact');
  expect(after!.filter((name) => before!.includes(name))).toHaveLength(2);
  await isSound(world, images);
  allow(EAGER);
  expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: true });
  await world.drain();
  expect(partsOf(world)[0]!.filter((name) => before!.includes(name))).toEqual([]);
  await isSound(world, images);
});

describe('a merge', () => {
  it('keeps the parts of its successor that it has nothing for, and writes the others', async () => {
    const { world, disk, images, backUp } = await stage(parted());
    await world.disks.write(disk, B, block(1));
    await world.disks.write(disk, 5 * B, block(1));
    await backUp(2);
    for (const region of [0, 1, 3]) await world.disks.write(disk, region * B, block(2));
    await backUp(30);
    const before = partsOf(world)[1]!;
    await expire(world, 3);
    expect(firsts(world)).toEqual([[0, 1, 3, 5]]);
    const after = partsOf(world)[0]!;
    expect(after.map((name) => before.includes(name))).toEqual([true, false, true, false]);
    await isSound(world, images);
  });

  it('brings the regions of a point that had parts into a manifest that had none', async () => {
    const { world, disk, images, backUp } = await stage(parted({ inlineRegions: 3 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.write(disk, 2 * B, block(2));
    await backUp(30);
    expect(firsts(world).map((each) => each.length)).toEqual([6, 0]);
    await expire(world, 3);
    expect(firsts(world).map((each) => each.length)).toEqual([6]);
    await isSound(world, images);
  });

  it('that leaves few regions writes a manifest without parts again', async () => {
    // Two points that clear what the one before wrote: at the bottom of the chain nothing is left of it.
    const { world, disk, images, backUp } = await stage(parted({ inlineRegions: 2 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.clear(disk, { start: B, end: 6 * B });
    await backUp(30);
    expect(firsts(world).map((each) => each.length)).toEqual([6, 5]);
    await expire(world, 3);
    expect(firsts(world)).toEqual([[]]);
    expect(liveManifests(container(world))[0]!.format).toBe(2);
    await isSound(world, images);
  });
});

/** As `stage`, with a disk of 16 regions. */
async function wide(layout: Partial<Layout>) {
  const world = await createWorld(parted(layout));
  const disk = (await world.createVm('vm', [16 * B]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  return { world, disk, images, backUp: backUpOf(world, disk, images) };
}

describe.each([
  { from: 1, to: 4, thinBytes: -1 },
  { from: 1, to: 4, thinBytes: 16 * B },
  { from: 4, to: 1, thinBytes: -1 },
  { from: 4, to: 1, thinBytes: 16 * B },
  { from: 2, to: 3, thinBytes: 16 * B },
])('spans of $from that become spans of $to (thin up to $thinBytes)', ({ from, to, thinBytes }) => {
  it('between the plan of a merge and its commit change nothing that a point shows', async () => {
    const { world, disk, images, backUp } = await wide({ spanRegions: from, thinBytes });
    const { layout } = world.ports.settings as { layout: { spanRegions: number } };
    await world.disks.write(disk, 0, block(1, 16));
    await backUp(2);
    await world.disks.write(disk, 0, block(2, 15));
    await backUp(4);
    await world.disks.write(disk, B, block(3, 15));
    await backUp(30);
    for (const days of [3, 2]) {
      world.clock.advance(days * DAY_MS);
      await cleanUp(world.ports);
      await runStep(world.ports, (await until(world, 'plan-merge')).step);
      expect(planNames(world).length).toBeGreaterThan(1);
      layout.spanRegions = to;
      await world.drain();
      layout.spanRegions = from;
      await isSound(world, images);
    }
    expect(live(world)).toHaveLength(1);
  });

  it('between the plan of a backup and its commit change nothing that a point shows', async () => {
    const { world, disk, images } = await wide({ spanRegions: from, thinBytes });
    const { layout } = world.ports.settings as { layout: { spanRegions: number } };
    await world.disks.write(disk, 0, block(1, 16));
    const id = await start(world);
    await runStep(world.ports, (await until(world, 'plan-transfer')).step);
    layout.spanRegions = to;
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, block(1, 16));
    await isSound(world, images);
  });

  it('between two runs of a commit change nothing that a point shows', async () => {
    const { world, disk, images } = await wide({ spanRegions: from, thinBytes });
    const { layout } = world.ports.settings as { layout: { spanRegions: number } };
    await world.disks.write(disk, 0, block(1, 16));
    const id = await start(world);
    const { step } = await until(world, 'commit');
    // The first run dies when it has written parts.
    const dying = putBy(world.ports, async (real, name, body, summary) => {
      if (/\/points\/\d{17}\.[0-9a-f]{16}\.json$/.test(name)) throw new Error('killed');
      return real.put(name, body, summary);
    });
    await runAll(world, 'transfer-unit');
    await expect(runStep(dying, step)).rejects.toThrow('killed');
    layout.spanRegions = to;
    await runStep(world.ports, step);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, block(1, 16));
    await world.sweep();
    await isSound(world, images);
  });
});

/** Handles all messages of one kind. */
async function runAll(world: World, kind: Step['step']): Promise<void> {
  for (const step of takeSteps(world, kind)) await runStep(world.ports, step);
}

it('slabs of a manifest without parts may lie across spans: merges tell their shares all the same', async () => {
  const { world, disk, images, backUp } = await wide({ spanRegions: 16, inlineRegions: 256, thinBytes: 16 * B });
  const { layout } = world.ports.settings as { layout: { spanRegions: number; inlineRegions: number } };
  await world.disks.write(disk, 0, block(1, 16));
  await backUp(2);
  await world.disks.write(disk, 0, block(2, 3));
  await backUp(30);
  Object.assign(layout, { spanRegions: 2, inlineRegions: 0 });
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  await isSound(world, images);
});

describe('what is lost', () => {
  async function twoPoints() {
    const set = await stage(parted());
    await set.world.disks.write(set.disk, 0, block(1, 6));
    const first = await set.backUp(30);
    await set.world.disks.write(set.disk, 2 * B, block(2, 2));
    const second = await set.backUp(30);
    await vaultOnly(set.world);
    return { ...set, first, second };
  }

  for (const [how, harm] of [
    ['gone', (world: World, name: string) => void container(world).delete(name)],
    [
      'damaged',
      (world: World, name: string) => {
        const body = Buffer.from(container(world).get(name)!.body);
        body[100]! ^= 1;
        container(world).set(name, { summary: {}, body });
      },
    ],
  ] as const) {
    it(`a part that is ${how} is named by restores; the next backup begins the chain anew`, async () => {
      const { world, disk, images, backUp, first, second } = await twoPoints();
      const lost = partsOf(world)[0]!.find((name) => name.endsWith('.000004.json'))!;
      harm(world, lost);
      for (const point of [first, second]) {
        const { job } = await world.restore('vm', point);
        expect(job.status).toBe('Failed');
        expect(JSON.stringify(job.errors)).toContain(lost);
      }
      await world.disks.write(disk, 0, block(3));
      const third = await backUp(30);
      expect(liveManifests2(world, third)).toMatchObject({ disks: [{ begins: third }] });
      await vaultOnly(world);
      const { job, disks } = await world.restore('vm', third);
      expect(job.errors).toEqual([]);
      expect(Buffer.compare(disks[0]!, images.get(third)!)).toBe(0);
    });
  }

  it('a part of another manifest in its place counts as damaged', async () => {
    const { world, second } = await twoPoints();
    const [, own] = partsOf(world)[1]!;
    const other = partsOf(world)[0]!.find((name) => name.endsWith('.000003.json'))!;
    container(world).set(own!, container(world).get(other)!);
    const { job } = await world.restore('vm', second);
    expect(job.status).toBe('Failed');
    expect(JSON.stringify(job.errors)).toContain(own);
  });

  it('a part of a plan that is gone fails the job, and the next one makes its own', async () => {
    const { world, disk, images, backUp } = await twoPoints();
    await world.disks.write(disk, 0, block(7, 6));
    const id = await start(world);
    await runStep(world.ports, (await until(world, 'plan-transfer')).step);
    const lost = planNames(world).find((name) => name.endsWith('.000001.json'))!;
    expect(planNames(world).length).toBeGreaterThan(2);
    container(world).delete(lost);
    await world.drain().catch(() => undefined);
    await world.settle();
    const job = await world.job(id);
    console.log(JSON.stringify(job.errors));
    expect(job.status).toBe('Failed');
    expect(JSON.stringify(job.errors)).toContain(lost);
    await backUp(30);
    await world.sweep();
    await isSound(world, images);
  });
});

/** The manifest of a point, without its parts. */
function liveManifests2(world: World, point: PointId) {
  const name = newestRecord(container(world)).points.find((own) => own.point === point)!.manifest;
  return JSON.parse(Buffer.from(container(world).get(name)!.body).toString()) as unknown;
}

describe('a transfer in parts', () => {
  it('sends every unit of every part by its number, and those that were lost again', async () => {
    const { world, disk, images } = await stage(parted());
    await world.disks.write(disk, 0, block(1, 6));
    const id = await start(world);
    await runStep(world.ports, (await until(world, 'plan-transfer')).step);
    const sent = takeSteps(world, 'transfer-unit');
    expect(sent.map((step) => (step.step === 'transfer-unit' ? step.unit : -1))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(planNames(world)).toHaveLength(2);
    for (const step of sent.filter((_, unit) => unit !== 1 && unit !== 5)) await runStep(world.ports, step);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [], doneBytes: 6 * B, totalBytes: 6 * B });
    expect(planNames(world)).toEqual([]);
    images.set(job.point!, block(1, 6));
    await isSound(world, images);
  });
});
