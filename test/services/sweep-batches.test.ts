import { describe, expect, it } from 'vitest';
import type { Step } from '../../shared/queue/steps.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { collect } from '../support/collect.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { isSound, mergedAcross, wide } from './parts-stage.ts';
import { B, KEY, type Stage, block, container, itemOf, restoresExactly, start, until } from './stage.ts';
import { takeSteps } from './verify-stage.ts';

/* A sweep that can hold few names finds what one that can hold all of them does, and no more. */

const DEAD = '00000000deadbeef';
const sweeping: Step = { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY };

async function partitionOf(world: World): Promise<string> {
  return pointsPartition(world.vaults.containerNames()[0]!, (await itemOf(world)).itemId);
}

const marked = async (world: World): Promise<string[]> =>
  (await collect(world.ports.catalog.marks.list(await partitionOf(world)))).map(({ row }) => row.name).sort();

/** Three points of a disk of 16 regions, one of them merged away; and beside every object one like it that a dead run has left. */
async function littered(
  layout: Parameters<typeof wide>[0],
): Promise<Stage & { strays: string[]; before: ReadonlySet<string> }> {
  const set = await wide({ checkpointDepth: 1, ...layout });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 16));
  await backUp(2);
  await world.disks.write(disk, 2 * B, block(2, 7));
  await backUp(30);
  await world.disks.write(disk, 8 * B, block(3, 4));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  const blobs = container(world);
  const before = new Set(blobs.keys());
  const strays = [...before]
    .filter((name) => /\/(disks|points|plans)\//.test(name))
    .map((name) => name.replace(/(?<=[./])[0-9a-f]{16}(?=\.[^/]*$)/, DEAD))
    .sort();
  for (const stray of strays) blobs.set(stray, { body: Buffer.alloc(1), summary: {} });
  return { ...set, strays, before };
}

describe.each([
  { namesAtOnce: 1, thinBytes: -1, spanRegions: 1 },
  { namesAtOnce: 1, thinBytes: 4 * B, spanRegions: 4 },
  { namesAtOnce: 12, thinBytes: -1, spanRegions: 4 },
  { namesAtOnce: 40, thinBytes: 4 * B, spanRegions: 2 },
])('$namesAtOnce names at once, spans of $spanRegions, thin up to $thinBytes bytes', (layout) => {
  it('marks the leftovers of all regions, takes them a grace later, and leaves everything else', async () => {
    const { world, images, strays, before } = await littered(layout);
    await runStep(world.ports, sweeping);
    expect(world.queue.waiting().some(({ step }) => step.step === 'sweep-item')).toBe(true);
    await world.drain();
    expect(await marked(world)).toEqual([...new Set(strays)]);
    expect(container(world).size).toBe(before.size + new Set(strays).size);
    world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
    await runStep(world.ports, sweeping);
    await world.drain();
    expect(await marked(world)).toEqual([]);
    expect(new Set(container(world).keys())).toEqual(before);
    await isSound(world, images);
  });
});

it('slabs across spans are named, wherever their numbers lie', async () => {
  const { world, images } = await mergedAcross();
  Object.assign(world.ports.settings.layout, { namesAtOnce: 1 });
  await world.sweep();
  expect(await marked(world)).toEqual([]);
  expect(leftovers(container(world))).toEqual([]);
  await restoresExactly(world, images);
});

it('what a running job has written is left alone in every batch, and a slab of it is looked for nowhere', async () => {
  const { world, disk } = await littered({ namesAtOnce: 5, thinBytes: 4 * B, spanRegions: 4 });
  await world.disks.write(disk, 0, block(9, 16));
  await start(world);
  const { step } = await until(world, 'commit');
  const written = new Set(container(world).keys());
  for (let round = 0; round < 2; round++) {
    await world.ports.queue.send(sweeping);
    for (let [next] = takeSteps(world, 'sweep-item'); next !== undefined; [next] = takeSteps(world, 'sweep-item'))
      await runStep(world.ports, next);
    world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
  }
  for (const name of written) if (!name.includes(DEAD)) expect(container(world).has(name)).toBe(true);
  await world.ports.queue.send(step);
  await world.drain();
  expect(leftovers(container(world))).toEqual([]);
});

it('a message that is lost costs the rest of one night, and one that comes twice nothing', async () => {
  const { world, before, strays } = await littered({ namesAtOnce: 12, thinBytes: -1, spanRegions: 4 });
  await runStep(world.ports, sweeping);
  const [lost] = takeSteps(world, 'sweep-item');
  expect(lost).toMatchObject({ after: expect.stringMatching(/^disks\//) });
  world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
  for (const step of [lost!, lost!, sweeping]) await world.ports.queue.send(step);
  await world.drain();
  expect(await marked(world)).not.toEqual([]);
  expect(strays.some((stray) => !container(world).has(stray))).toBe(true); // of those that the first message has marked
  world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
  await world.ports.queue.send(sweeping);
  await world.drain();
  expect(new Set(container(world).keys())).toEqual(before);
});

it('marks that no name leads to any more are forgotten', async () => {
  const { world } = await littered({ namesAtOnce: 12, thinBytes: -1, spanRegions: 4 });
  const partition = await partitionOf(world);
  const { marks } = world.ports.catalog;
  await marks.upsert(partition, 'a'.repeat(40), { name: 'of another form', markedAt: 1 });
  await marks.upsert(partition, `o|disks|gone|000001|${'a'.repeat(40)}`, { name: 'of a disk', markedAt: 1 });
  await runStep(world.ports, sweeping);
  await world.drain();
  const names = await marked(world);
  expect(names).not.toContain('of another form');
  expect(names).not.toContain('of a disk');
  expect(names.length).toBeGreaterThan(10);
});
