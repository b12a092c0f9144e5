import { describe, expect, it } from 'vitest';
import { protect, stopProtection } from '../../../shared/services/protection.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { cancelJob } from '../../../shared/services/watch.ts';
import { type Call, type Sleeper, dyingAfter, fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { leftovers } from '../../support/vault-map.ts';
import { VAULT } from '../../support/world.ts';
import { KEY, container, itemOf, live } from '../../services/stage.ts';
import { backingUp, drainSoon, merging, whole } from './story.ts';

const writingItsRecord = ({ call, name }: Pick<Call, 'call' | 'name'>): boolean =>
  call === 'vault.put' && name.includes('/chain/');

/** Its record stands, and it has not learnt of it. */
const itsRecordStands = (call: Call): boolean => call.moment === 'after' && writingItsRecord(call);

/** A backup whose coordinator has died right after its record was written. */
async function committedAndDied(): ReturnType<typeof backingUp> {
  const told = await backingUp();
  const { world, commit } = told;
  const coordinator = await fallAsleep(world.ports, (ports) => runStep(ports, commit.step), itsRecordStands);
  expect(coordinator.asleep).toBe(true);
  await coordinator.die();
  return told;
}

/** A backup that has planned again while a coordinator of its first plan sleeps, which will die right after writing its record. */
async function plannedTwice(): Promise<Awaited<ReturnType<typeof backingUp>> & { coordinator: Sleeper }> {
  const told = await backingUp();
  const { world, id, commit } = told;
  const mortal = dyingAfter(world.ports, writingItsRecord);
  const coordinator = await fallAsleep(mortal, (ports) => runStep(ports, commit.step), itsRecord);
  // A twin of one of its units has found that the base's snapshot is gone.
  const [base] = await world.points('vm');
  for (const { url, snapshot } of base!.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  const old = (await world.job(id)).attempt!;
  await runStep(world.ports, { step: 'plan-transfer', v: 1, vault: VAULT, jobId: id, instead: old });
  expect((await world.job(id)).attempt).not.toBe(old);
  return { ...told, coordinator };
}

/** The backup has happened, once. */
async function happened({ world, images, id, image }: Awaited<ReturnType<typeof backingUp>>): Promise<void> {
  const { status, errors, point } = await world.job(id);
  expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
  images.set(point!, image);
  expect(live(world)).toEqual([...images.keys()]);
  expect((await world.points('vm')).map(({ vault }) => vault)).toEqual(['Valid', 'Valid']);
  await world.sweep();
  expect(leftovers(container(world))).toEqual([]);
  await whole({ world, images });
}

describe('rule 6: committed is not overtaken', () => {
  it('a coordinator whose twin has committed and died takes the job for done', async () => {
    const told = await committedAndDied();
    told.world.queue.putBack(told.commit);
    await drainSoon(told.world);
    await happened(told);
  });

  it('it finds its record behind later ones', async () => {
    const told = await committedAndDied();
    const { world, commit } = told;
    const { vmResourceId: resourceId } = await itemOf(world);
    await stopProtection(world.ports, VAULT, KEY);
    await protect(world.ports, VAULT, { resourceId, resourceGroup: 'app', vmName: 'vm' }, 'nightly');
    world.queue.putBack(commit);
    await drainSoon(world);
    await happened(told);
  });

  it('a merge whose record stands behind later ones deletes what it has replaced', async () => {
    const { world, images, first, plan } = await merging();
    const merge = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecordStands);
    expect(merge.asleep).toBe(true);
    await merge.die();
    await stopProtection(world.ports, VAULT, KEY);
    world.queue.putBack(plan);
    await drainSoon(world);
    expect(live(world)).toEqual([...images.keys()].filter((point) => point !== first));
    expect(leftovers(container(world))).toEqual([]);
    await whole({ world, images });
  });

  it('a plan that was committed is not replaced by another: its record came after the twin had planned', async () => {
    const told = await plannedTwice();
    const { world, coordinator } = told;
    await coordinator.wake().catch(() => undefined);
    await drainSoon(world);
    await world.watch();
    await happened(told);
  });

  it('a plan that was committed is not replaced by another: its record came before', async () => {
    const told = await committedAndDied();
    const { world, id } = told;
    const { attempt, attempts } = await world.job(id);
    await runStep(world.ports, { step: 'plan-transfer', v: 1, vault: VAULT, jobId: id, instead: attempt! });
    expect((await world.job(id)).attempts).toEqual(attempts);
    await drainSoon(world);
    await happened(told);
  });

  it('a job that is cancelled has completed, if an earlier plan of it was committed', async () => {
    const told = await plannedTwice();
    const { world, id, coordinator } = told;
    await coordinator.wake().catch(() => undefined);
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    await happened(told);
  });

  it('a commit that comes between a cancellation and its record is what has happened', async () => {
    const told = await backingUp();
    const { world, id, commit } = told;
    const mortal = dyingAfter(world.ports, writingItsRecord);
    const coordinator = await fallAsleep(mortal, (ports) => runStep(ports, commit.step), itsRecord);
    const cancelling = await fallAsleep(
      world.ports,
      (ports) => cancelJob(ports, { vault: VAULT, jobId: id }),
      itsRecord,
    );
    await coordinator.wake().catch(() => undefined);
    await cancelling.wake();
    await drainSoon(world);
    await happened(told);
  });
});
