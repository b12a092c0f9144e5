import { describe, expect, it } from 'vitest';
import { decodeDocument, encodeDocument } from '../../shared/format/document.ts';
import { type VerifyPlan, verifyPlan } from '../../shared/format/verify-plan.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { inventoryParts } from '../../shared/services/verify-inventory.ts';
import type { LiveDisk } from '../../shared/services/verify-points.ts';
import { collect } from '../support/collect.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { planNames, wide } from './parts-stage.ts';
import { B, KEY, type Stage, block, container, itemOf, until } from './stage.ts';
import { ALL, findings, takeSteps, verify } from './verify-stage.ts';

/* A verification of a disk with more regions than are looked at together: it sees all of them, and says what is wrong where it is. */

async function partitionOf(world: World): Promise<string> {
  return pointsPartition(world.vaults.containerNames()[0]!, (await itemOf(world)).itemId);
}

const checked = async (world: World): Promise<number[]> =>
  (await collect(world.ports.catalog.checks.list(await partitionOf(world)))).map(({ key }) =>
    Number(key.split('|')[1]),
  );

/** Three points of 16 regions, and a fourth that has been merged away. */
async function written(layout: Parameters<typeof wide>[0]): Promise<Stage> {
  const set = await wide({ checkpointDepth: 1, ...layout });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 16));
  await backUp(2);
  await world.disks.write(disk, 0, block(2, 10));
  await backUp(30);
  await world.disks.write(disk, 9 * B, block(3, 7));
  await backUp(30);
  await world.disks.write(disk, 15 * B, block(4));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  return set;
}

const THICK = { thinBytes: -1 };
const THIN = { thinBytes: 4 * B };

describe.each([
  { spanRegions: 1, ...THICK },
  { spanRegions: 3, ...THICK },
  { spanRegions: 4, ...THIN },
  { spanRegions: 10, ...THICK },
  { spanRegions: 10, ...THIN },
])('spans of $spanRegions regions, thin up to $thinBytes bytes', (layout) => {
  it('a sound vault gives no finding; every region is read, and the plan goes with all its parts', async () => {
    const { world } = await written(layout);
    const before = [...container(world).keys()];
    const id = await startVerify(world.ports, VAULT, KEY, ALL, true);
    await runStep(world.ports, (await until(world, 'plan-verify')).step);
    expect(planNames(world).length > 1).toBe(layout.spanRegions < 10);
    await world.drain();
    expect(await world.job(id)).toMatchObject({
      status: 'Completed',
      errors: [],
      bag: { Findings: '0', 'Unnamed Objects': '0', 'Regions Checked': '16' },
    });
    expect(await checked(world)).toEqual(Array.from({ length: 16 }, (_, region) => region));
    expect([...container(world).keys()]).toEqual(before);
  });

  it('what is gone is found in the piece of the inventory that it belongs to, whichever', async () => {
    const { world } = await written(layout);
    const partition = await partitionOf(world);
    const blobs = container(world);
    const lost = new Set<string>(); // an inventory heals nothing
    for (const [name, blob] of [...blobs].filter(([each]) => /\.(layer|slab|checkpoint)$/.test(each))) {
      blobs.delete(name);
      await verify(world, { deepBytes: 0 });
      const rows = await findings({ world, partition });
      expect(new Set(rows.map(({ object }) => object))).toEqual(lost.add(name));
      blobs.set(name, blob);
    }
    await verify(world);
    expect(await findings({ world, partition })).toEqual([]);
  }, 60_000);

  it('leftovers are counted once, slabs of other regions too', async () => {
    const { world } = await written(layout);
    const blobs = container(world);
    const strays = [...blobs.keys()].filter((name) => /\.(layer|slab|checkpoint)$/.test(name));
    for (const name of strays)
      blobs.set(name.replace(/[0-9a-f]{16}(?=\.[a-z]+$)/, '00000000deadbeef'), { body: block(1), summary: {} });
    const there = [...blobs.keys()].filter((name) => name.includes('deadbeef')).length;
    expect(there).toBeGreaterThan(3);
    expect((await verify(world, { deepBytes: 0 })).bag).toMatchObject({ 'Unnamed Objects': `${there}` });
  });
});

it('damage in a region of the last part is found, and heals once it was read again', async () => {
  const { world, images } = await written({ spanRegions: 1, ...THICK });
  const partition = await partitionOf(world);
  const blobs = container(world);
  const [name, blob] = [...blobs].findLast(([each]) => /\/000015\..*\.pack$/.test(each))!;
  blobs.set(name, { ...blob, body: Buffer.alloc(blob.body.length, 9) });
  await verify(world);
  const newest = [...images.keys()].at(-1)!;
  expect(await findings({ world, partition })).toMatchObject([
    { kind: 'blocks', object: name, region: 15, points: expect.arrayContaining([newest]) },
  ]);
  blobs.set(name, blob);
  await verify(world);
  expect(await findings({ world, partition })).toEqual([]);
});

it('units of all parts that were lost are sent again by their numbers', async () => {
  const { world } = await written({ spanRegions: 1, ...THICK });
  const id = await startVerify(world.ports, VAULT, KEY, ALL, true);
  await runStep(world.ports, (await until(world, 'plan-verify')).step);
  const sent = takeSteps(world, 'verify-unit').map((step) => (step.step === 'verify-unit' ? step.unit : -1));
  expect(sent).toEqual(sent.map((_, unit) => unit));
  expect(sent.length).toBeGreaterThanOrEqual(32);
  const attempt = (await world.job(id)).attempt!;
  for (const unit of sent.filter((own) => own % 3 !== 1))
    await runStep(world.ports, { step: 'verify-unit', v: 1, vault: VAULT, jobId: id, attempt, unit });
  await runStep(world.ports, { step: 'plan-verify', v: 1, vault: VAULT, jobId: id });
  const again = takeSteps(world, 'verify-unit').map((step) => (step.step === 'verify-unit' ? step.unit : -1));
  expect(again).toEqual(sent.filter((own) => own % 3 === 1));
  for (const unit of again)
    await runStep(world.ports, { step: 'verify-unit', v: 1, vault: VAULT, jobId: id, attempt, unit });
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', bag: { 'Regions Checked': '16' } });
  expect(await checked(world)).toHaveLength(16);
  expect(planNames(world)).toEqual([]);
});

it('a drill of a disk in parts is compared region by region', async () => {
  const { world } = await written({ spanRegions: 2, ...THICK });
  const job = await verify(world, { deepBytes: 0, drill: 'latest' });
  expect(job).toMatchObject({ status: 'Completed', errors: [], bag: { 'Drill Bytes': expect.any(String) } });
  expect(job.verify?.drill).toMatchObject({ sent: true, compared: true });
});

it('an inventory goes by thousands where spans are of 1,024 regions, and by one listing where a disk has no more', () => {
  const parts = (regions: number): (string | undefined)[] =>
    inventoryParts({ disk: 'a', sizeBytes: regions * B } as unknown as LiveDisk, [], {
      geometry: { regionBytes: B },
      layout: {
        thinBytes: 0,
        foldRatio: 64,
        checkpointDepth: 8,
        spanRegions: 1024,
        inlineRegions: 256,
        restoreBytes: 0,
        namesAtOnce: 1,
      },
    });
  expect(parts(0)).toEqual([undefined]);
  expect(parts(1000)).toEqual([undefined]);
  expect(parts(1001)).toEqual(['000', '001']);
  expect(parts(32_768)).toHaveLength(33);
  expect(parts(32_768).at(-1)).toBe('032');
  expect(parts(1_000_001)).toEqual([undefined]);
});

it('a region counts as checked once all of its units are done, in whatever part of the plan they are', async () => {
  const { world } = await written({ spanRegions: 1, ...THICK });
  const id = await startVerify(world.ports, VAULT, KEY, ALL, true);
  await runStep(world.ports, (await until(world, 'plan-verify')).step);
  takeSteps(world, 'verify-unit');
  const attempt = (await world.job(id)).attempt!;
  // As if the layers of one region were too large for one message.
  const blobs = container(world);
  const read = (name: string): VerifyPlan => decodeDocument(name, blobs.get(name)!.body, verifyPlan);
  const write = (name: string, plan: VerifyPlan): void =>
    void blobs.set(name, { body: encodeDocument(name, plan), summary: {} });
  const parts = planNames(world).map((name) => ({ name, plan: read(name) }));
  const first = parts.pop(); // its name sorts behind those of the others
  const number = parts.findIndex(({ plan }) => plan.regions.some(({ layers }) => layers.length > 1));
  const { name, plan } = parts[number]!;
  const at = plan.regions.findIndex(({ layers }) => layers.length > 1);
  const own = plan.units.findIndex((unit) => unit.kind === 'region' && unit.at === at);
  const halves = [0, 1].map((from) => ({ kind: 'region' as const, at, from, layers: 1, bytes: 1 }));
  write(name, { ...plan, units: plan.units.toSpliced(own, 1, ...halves) });
  const counts = first!.plan.parts!.map((part, i) => (i === number + 1 ? { ...part, units: part.units + 1 } : part));
  write(first!.name, { ...first!.plan, parts: counts });
  const before = counts.slice(0, number + 1).reduce((sum, { units }) => sum + units, 0);
  const run = (unit: number): Promise<void> =>
    runStep(world.ports, { step: 'verify-unit', v: 1, vault: VAULT, jobId: id, attempt, unit: before + own + unit });
  const { region } = plan.regions[at]!;
  for (let unit = 0; unit < before; unit++)
    await runStep(world.ports, { step: 'verify-unit', v: 1, vault: VAULT, jobId: id, attempt, unit });
  await run(0);
  expect(await checked(world)).not.toContain(region);
  await run(1);
  expect(await checked(world)).toContain(region);
});
