import { describe, expect, it } from 'vitest';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import { restorePlan } from '../../shared/format/documents.ts';
import { namedByPlan } from '../../shared/services/named.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { DAY_MS, VAULT, type WorldOptions, createWorld } from '../support/world.ts';
import { B, KEY, type Stage, backUpOf, block, container, live, until, vaultOnly } from './stage.ts';

/* One message restores several small regions: what it reads once for all of them, and that nothing of any of them is left out. */

const REGION = 4;
const REGIONS = 12;

/** A disk of regions of four blocks, all thin but region 5, with holes at 3 and 8: three nights, each in other regions. */
async function thinDisk(options: WorldOptions = {}): Promise<Stage> {
  const world = await createWorld({ layout: { thinBytes: 2 * B, restoreBytes: 16 * B, foldRatio: 1 }, ...options });
  const disk = (await world.createVm('vm', [REGIONS * REGION * B - 512]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const backUp = backUpOf(world, disk, images);
  for (const region of [0, 1, 2, 4, 6, 7, 9, 10, 11])
    await world.disks.write(disk, region * REGION * B, block(region + 1));
  await world.disks.write(disk, 5 * REGION * B, block(99, REGION));
  await world.disks.write(disk, 5 * REGION * B, block(98, REGION / 2));
  await backUp(1);
  for (const region of [1, 4, 9]) await world.disks.write(disk, region * REGION * B, block(region + 50, 2));
  await world.disks.clear(disk, { start: 2 * REGION * B, end: (2 * REGION + 1) * B });
  await backUp(30);
  await world.disks.write(disk, (REGIONS * REGION - 1) * B, Buffer.alloc(B - 512, 7));
  await backUp(30);
  return { world, disk, images, backUp };
}

/** Plans the restore of the `nth` point; the messages of its units, taken. */
async function units({ world, images }: Stage, nth: number): Promise<{ id: JobId; messages: QueuedMessage[] }> {
  const point = [...images.keys()][nth]!;
  const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
  const messages = [await until(world, 'restore-unit')];
  for (let next = world.queue.take(); next !== undefined; next = world.queue.take()) messages.push(next);
  return { id, messages };
}

async function expectRestored({ world, images }: Stage, id: JobId): Promise<void> {
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  const url = world.disks.urls().find((each) => each.startsWith(job.restore!.containerUrl) && each.endsWith('.vhd'))!;
  const bytes = await world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) });
  expect(Buffer.compare(bytes, images.get(job.point!)!)).toBe(0);
}

describe.each(['snapshot', 'vault'] as const)('small regions restored from the %s', (tier) => {
  it('go together: one listing for neighbours, and a slab is read for its layers and for its blocks', async () => {
    const calls: { call: string; what: unknown }[] = [];
    const gate = {
      before: (call: string, [what]: readonly unknown[]) => void calls.push({ call, what }),
      after: () => undefined,
    };
    const staged = await thinDisk();
    const { world } = staged;
    if (tier === 'vault') await vaultOnly(world);
    const { id, messages } = await units(staged, 2);
    const own = messages.filter(({ step }) => step.step === 'restore-unit');
    // Of the region that is full; and of all others, whose layers have 16 blocks.
    expect(own).toHaveLength(2);
    for (const { step } of own) await runStep(gatedPorts(world.ports, gate), step);
    const asked = (wanted: string): unknown[] => calls.filter(({ call }) => call === wanted).map(({ what }) => what);
    // Region 5, where another unit works, parts one of them.
    expect(asked('targets.allocated').length).toBeLessThanOrEqual(own.length + 1);
    expect(asked('snapshots.allocated').length).toBeLessThanOrEqual(tier === 'snapshot' ? own.length + 1 : 0);
    const slabs = asked('vault.read').filter((name) => String(name).endsWith('.slab'));
    expect(slabs.length > 0).toBe(tier === 'vault');
    expect(slabs.length).toBeLessThanOrEqual(2 * own.length * new Set(slabs).size);
    for (const message of messages) world.queue.putBack(message);
    await world.drain();
    await expectRestored(staged, id);
  });

  it('are all done again when the handler dies after any call', async () => {
    const staged = await thinDisk();
    const { world } = staged;
    if (tier === 'vault') await vaultOnly(world);
    let died = true;
    for (let at = 1; died; at++) {
      const { id, messages } = await units(staged, 2);
      const gate = new CrashGate();
      gate.at = at;
      gate.moment = 'after';
      died = await runStep(crashing(gate)(world.ports), messages[0]!.step).then(
        () => false,
        (error: unknown) => {
          expect(error).toBeInstanceOf(Killed);
          return true;
        },
      );
      for (const message of messages) world.queue.putBack(message);
      await world.drain();
      await expectRestored(staged, id);
      if (!died) expect(at).toBeGreaterThan(10);
    }
  });
});

it('a region whose layers a merge takes away does not hold up those beside it that stay as they are', async () => {
  // In files of their own: a slab goes only when all its layers have.
  const staged = await thinDisk({ layout: { thinBytes: -1, restoreBytes: 16 * B, foldRatio: 1 } });
  const { world, images } = staged;
  await vaultOnly(world);
  const { id, messages } = await units(staged, 1);
  world.clock.advance(2 * DAY_MS);
  await world.cleanUp();
  expect(live(world)).toEqual([...images.keys()].slice(1));
  for (const message of messages) world.queue.putBack(message);
  await world.drain();
  await expectRestored(staged, id);
});

it('the layers of all regions of a unit are names of a running job', async () => {
  const staged = await thinDisk();
  const { world } = staged;
  await vaultOnly(world);
  const { id } = await units(staged, 2);
  const vault = await world.ports.vaults.open(world.vaults.containerNames()[0]!);
  const names = (await Array.fromAsync(namedByPlan(vault, await world.job(id)))).flat();
  const stored = [...container(world).keys()].filter((name) => /\.(slab|layer)$/.test(name));
  expect(stored.filter((name) => !names.includes(name))).toEqual([]);
});

it('a plan of before, in which every region was a unit, is understood', () => {
  const region = { region: 3, stack: [] };
  const { units: unit } = restorePlan.shape;
  expect(unit.parse([{ target: 1, bytes: 5, ...region }])).toEqual([{ target: 1, bytes: 5, regions: [region] }]);
});
