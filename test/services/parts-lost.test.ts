import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { encodeDocument } from '../../shared/format/document.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, type World } from '../support/world.ts';
import { parted, partsOf, planNames } from './parts-stage.ts';
import { B, type Stage, block, container, live, stage, start, until, vaultOnly } from './stage.ts';

/* Parts that are lost: whoever needs one names it, and whatever does not need it goes on. */

async function twoPoints(): Promise<Stage & { first: PointId; second: PointId }> {
  const set = await stage(parted());
  await set.world.disks.write(set.disk, 0, block(1, 6));
  const first = await set.backUp(30);
  await set.world.disks.write(set.disk, 2 * B, block(2, 2));
  const second = await set.backUp(30);
  await vaultOnly(set.world);
  return { ...set, first, second };
}

/** The part of the `index`th point that begins with `region`. */
const partAt = (world: World, index: number, region: number): string =>
  partsOf(world)[index]!.find(({ first }) => first === region)!.name;

describe.each([
  ['gone', (world: World, name: string): void => void container(world).delete(name)],
  [
    'damaged',
    (world: World, name: string): void => {
      const body = Buffer.from(container(world).get(name)!.body);
      body[100]! ^= 1;
      container(world).set(name, { summary: {}, body });
    },
  ],
])('a part of a manifest that is %s', (_, harm) => {
  it('is named by restores of all points that need it', async () => {
    const { world, first, second } = await twoPoints();
    const lost = partAt(world, 0, 4);
    harm(world, lost);
    for (const point of [first, second]) {
      const { job } = await world.restore('vm', point);
      expect(job.status).toBe('Failed');
      expect(JSON.stringify(job.errors)).toContain(lost);
    }
  });

  it("lets the disk's chain begin anew with the next backup, and the one after builds on that", async () => {
    const { world, disk, images, backUp } = await twoPoints();
    harm(world, partAt(world, 0, 4));
    await world.disks.write(disk, 0, block(3));
    const third = await backUp(30);
    await world.disks.write(disk, B, block(4));
    const fourth = await backUp(30);
    await vaultOnly(world);
    for (const point of [third, fourth]) {
      const { job, disks } = await world.restore('vm', point);
      expect(job.errors).toEqual([]);
      expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
    }
    const blobs = [...container(world).keys()].filter((name) => name.includes(`/${fourth}/`));
    expect(blobs.filter((name) => name.endsWith('.layer'))).toHaveLength(1);
  });
});

it.each(['gone', 'damaged'])(
  'points expire although a part of an expired one is %s, once its disk has begun anew',
  async (how) => {
    const { world, disk, images, backUp } = await stage(parted());
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.write(disk, B, block(2));
    await backUp(2);
    const lost = partAt(world, 1, 1);
    if (how === 'gone') container(world).delete(lost);
    else container(world).set(lost, { summary: {}, body: Buffer.from('{}') });
    await world.disks.write(disk, 2 * B, block(3));
    await backUp(2);
    await world.disks.write(disk, 3 * B, block(4));
    const last = await backUp(90);
    expect(live(world)).toHaveLength(4);
    for (let night = 0; night < 4; night++) {
      world.clock.advance(4 * DAY_MS);
      await world.cleanUp();
    }
    expect(live(world)).toEqual([last]);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await vaultOnly(world);
    const { disks } = await world.restore('vm', last);
    expect(Buffer.compare(disks[0]!, images.get(last)!)).toBe(0);
  },
);

it('a part of another manifest in the place of one counts as damaged', async () => {
  const { world, second } = await twoPoints();
  const own = partAt(world, 1, 3);
  container(world).set(own, container(world).get(partAt(world, 0, 3))!);
  const { job } = await world.restore('vm', second);
  expect(job.status).toBe('Failed');
  expect(JSON.stringify(job.errors)).toContain(own);
});

it('a part of an earlier attempt in the place of one, whole and of its own name, counts as damaged', async () => {
  const { world, disk, backUp, second } = await twoPoints();
  const own = partAt(world, 1, 3);
  const kept = container(world).get(own)!;
  // The same name with other contents that are in order for themselves: only the manifest's digest tells.
  const { item } = newestRecord(container(world));
  const body = encodeDocument(own, { format: 3, item, point: second, disk: own.split('.').at(-3), regions: [] });
  container(world).set(own, { ...kept, body });
  const { job } = await world.restore('vm', second);
  expect(job.status).toBe('Failed');
  expect(JSON.stringify(job.errors)).toContain(own);
  await world.disks.write(disk, 0, block(9));
  await backUp(30);
});

it('a part of a plan that is gone ends the transfer, and the next one makes a plan of its own', async () => {
  const { world, disk, images, backUp } = await twoPoints();
  await world.disks.write(disk, 0, block(7, 6));
  const id = await start(world);
  await runStep(world.ports, (await until(world, 'plan-transfer')).step);
  expect(planNames(world).length).toBeGreaterThan(2);
  const lost = planNames(world).find((name) => name.endsWith('.000001.json'))!;
  container(world).delete(lost);
  await world.drain().catch((error: unknown) => expect(error).toMatchObject({ code: 'VaultObjectMissing' }));
  await world.settle();
  const job = await world.job(id);
  // The point has its snapshots: it is not lost, but it has not reached the vault.
  expect(job.status).toBe('CompletedWithWarnings');
  expect(JSON.stringify(job.errors)).toContain(lost);
  images.set(job.point!, block(7, 6));
  const { disks } = await world.restore('vm', job.point!);
  expect(Buffer.compare(disks[0]!, block(7, 6))).toBe(0);
  const fourth = await backUp(30);
  await world.sweep();
  expect(planNames(world)).toEqual([]);
  expect(leftovers(container(world))).toEqual([]);
  await vaultOnly(world);
  const restored = await world.restore('vm', fourth);
  expect(Buffer.compare(restored.disks[0]!, images.get(fourth)!)).toBe(0);
});
