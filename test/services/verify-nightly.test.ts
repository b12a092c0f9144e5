import { describe, expect, it } from 'vitest';
import type { JobId } from '../../shared/domain/ids.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { readJob } from '../../shared/services/jobs.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startVerify, verifyItem } from '../../shared/services/verify.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { VAULT, type World } from '../support/world.ts';
import { KEY, block, holding, itemOf, stage, start, until } from './stage.ts';
import { takeSteps } from './verify-stage.ts';

/* The nightly verification is in nobody's way: it is taken on seldom, by one at a time, and a backup goes first. */

const MINUTE_MS = 60_000;

async function vaultWithAPoint(): Promise<World> {
  const { world, disk, backUp } = await stage();
  await world.disks.write(disk, 0, block(1, 6));
  await backUp(30);
  return world;
}

const verifyJob = async (world: World): Promise<JobId> => (await itemOf(world)).verifyJob!;
const steps = (world: World, kind: Step['step']): Step[] =>
  world.queue
    .waiting()
    .map(({ step }) => step)
    .filter(({ step }) => step === kind);

describe('a verification that shows no sign of life', () => {
  async function wokenAfter(world: World, minutes: number): Promise<number> {
    world.clock.advance(minutes * MINUTE_MS);
    return watchJobs(world.ports);
  }
  it('is taken on after a quarter of an hour where somebody has asked for it', async () => {
    const world = await vaultWithAPoint();
    await startVerify(world.ports, VAULT, KEY, {}, true);
    expect(await wokenAfter(world, 16)).toBe(1);
  });
  it('is taken on after four hours where nobody has: the watch looks every quarter of an hour', async () => {
    const world = await vaultWithAPoint();
    await verifyItem(world.ports, { vault: VAULT, itemId: KEY });
    let quarters = 0;
    while ((await wokenAfter(world, 15)) === 0) if (++quarters > 20) throw new Error('nobody takes it on');
    expect(quarters).toBe(16);
  });
});

it('of several coordinators of a verification only the last goes on', async () => {
  const world = await vaultWithAPoint();
  const jobId = await startVerify(world.ports, VAULT, KEY, {}, true);
  const plan = { step: 'plan-verify', v: 1, vault: VAULT, jobId } as const;
  for (let times = 0; times < 3; times++) await runStep(world.ports, plan);
  const coordinators = steps(world, 'finish-verify');
  expect(coordinators).toHaveLength(3);
  for (const step of coordinators.slice(0, 2)) await runStep(world.ports, step);
  expect(steps(world, 'finish-verify')).toHaveLength(3);
  await runStep(world.ports, coordinators[2]!);
  expect(steps(world, 'finish-verify')).toHaveLength(4);
  await world.drain();
  expect(await readJob(world.ports, { vault: VAULT, jobId })).toMatchObject({ status: 'Completed' });
});

it('who wakes up with a plan that another has replaced does not take the verification from its coordinator', async () => {
  const world = await vaultWithAPoint();
  const jobId = await startVerify(world.ports, VAULT, KEY, {}, true);
  const plan = { step: 'plan-verify', v: 1, vault: VAULT, jobId } as const;
  takeSteps(world, 'plan-verify');
  const sleeper = holding(world.ports, /\/plans\//);
  const asleep = runStep(sleeper.ports, plan);
  await sleeper.reached;
  await runStep(world.ports, plan);
  sleeper.letGo();
  await asleep;
  await world.drain();
  expect(await readJob(world.ports, { vault: VAULT, jobId })).toMatchObject({ status: 'Completed' });
});

describe('a unit of a verification that meets a backup of its item', () => {
  /** A planned verification, and a backup that has just begun. */
  async function both(isAskedFor: boolean) {
    const world = await vaultWithAPoint();
    if (isAskedFor) await startVerify(world.ports, VAULT, KEY, {}, true);
    else await verifyItem(world.ports, { vault: VAULT, itemId: KEY });
    const jobId = await verifyJob(world);
    const message = await until(world, 'verify-unit');
    const unit = message.step as Extract<Step, { step: 'verify-unit' }>;
    await start(world);
    const marks = async (): Promise<number> => {
      let count = 0;
      for await (const _ of world.ports.catalog.units.list(unit.attempt)) count++;
      return count;
    };
    return { world, jobId, unit, marks };
  }

  it('makes way, again and again after longer times, until it has ended', async () => {
    const { world, jobId, unit, marks } = await both(false);
    const before = await marks();
    await runStep(world.ports, unit);
    expect(await marks()).toBe(before);
    expect(steps(world, 'verify-unit')).toContainEqual({ ...unit, waits: 1 });
    await runStep(world.ports, { ...unit, waits: 8 });
    const { dueMs } = world.queue.waiting().find(({ step }) => step.step === 'verify-unit' && step.waits === 9)!;
    expect(dueMs - world.clock.now()).toBeGreaterThan(1000);
    await world.drain();
    expect(await readJob(world.ports, { vault: VAULT, jobId })).toMatchObject({ status: 'Completed' });
  });
  it('looks all the same after an hour of that', async () => {
    const { world, unit, marks } = await both(false);
    const before = await marks();
    await runStep(world.ports, { ...unit, waits: 100 });
    expect(await marks()).toBe(before + 1);
  });
  it('does not wait where somebody has asked for it', async () => {
    const { world, unit, marks } = await both(true);
    const before = await marks();
    await runStep(world.ports, unit);
    expect(await marks()).toBe(before + 1);
  });
});
