import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { JobId } from '../../shared/domain/ids.ts';
import { startBackup } from '../../shared/services/backup.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { leftovers } from '../support/vault-map.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';
import { KEY, container, until, vaultOnly } from './stage.ts';

/* A unit that is at work when its job is cancelled stops within seconds, not at its end. */

const MIB = 2 ** 20;
const SIZE = 48 * MIB;

async function bigRegion(): Promise<{ world: World; url: string }> {
  const world = await createWorld({ regionBytes: 64 * MIB, layout: { thinBytes: 1024 } });
  const [url] = await world.createVm('vm', [SIZE]);
  await world.disks.write(url!, 0, randomBytes(SIZE));
  await world.protect('vm');
  return { world, url: url! };
}

/** Ports of a handler each of whose calls takes a second; `calls` are those since `at` was called for the first time, which `then` comes before. */
function slow(
  world: World,
  at: string,
  then: () => Promise<void>,
): { ports: Ports; calls: string[]; done: Promise<void> } {
  const calls: string[] = [];
  const done = Promise.withResolvers<void>();
  let hasBegun = false;
  const ports = gatedPorts(world.ports, {
    async before(call) {
      world.clock.advance(1000);
      if (hasBegun) calls.push(call);
      if (call !== at || hasBegun) return;
      hasBegun = true;
      const doing = then();
      done.resolve(doing);
      await doing;
    },
    after: () => undefined,
  });
  return { ports, calls, done: done.promise };
}

describe('a cancelled job', () => {
  const cancel = (world: World, jobId: JobId): Promise<void> => cancelJob(world.ports, { vault: VAULT, jobId });

  it('stops a unit that transfers, and leaves nothing behind that the sweep does not take', async () => {
    const { world } = await bigRegion();
    const jobId = await startBackup(world.ports, VAULT, KEY, { kind: 'onDemand' });
    const { step } = await until(world, 'transfer-unit');
    const { ports, calls, done } = slow(world, 'vault.put', () => cancel(world, jobId));
    await runStep(ports, step);
    await done;
    // One pack was on its way; no other, and no layer, was begun: six would have come.
    expect(calls.filter((call) => call === 'vault.put').length).toBeLessThanOrEqual(1);
    expect(await world.job(jobId)).toMatchObject({ status: 'Cancelled' });
    expect([...container(world).keys()].filter((name) => name.endsWith('.layer'))).toEqual([]);
    await world.drain();
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
  });

  it.each(['vault', 'snapshot'])('stops a unit that restores from the %s', async (from) => {
    const { world } = await bigRegion();
    const { point } = await world.backup('vm');
    if (from === 'vault') await vaultOnly(world);
    const jobId = await startRestore(world.ports, VAULT, KEY, point!, { accountId: '/x/restored' });
    const { step } = await until(world, 'restore-unit');
    const { ports, calls } = slow(world, 'targets.write', () => cancel(world, jobId));
    // What is under way when the disks are taken away is refused by the storage, and its message comes again.
    await runStep(ports, step).catch(() => runStep(world.ports, step));
    expect(calls.filter((call) => call === 'targets.write').length).toBeLessThanOrEqual(4);
    expect(calls).not.toContain('targets.readBack');
    expect(calls).not.toContain('units.upsert');
    expect(await world.job(jobId)).toMatchObject({ status: 'Cancelled' });
  });

  it('is asked about every few seconds, and not for every piece', async () => {
    const { world } = await bigRegion();
    await startBackup(world.ports, VAULT, KEY, { kind: 'onDemand' });
    const { step } = await until(world, 'transfer-unit');
    const calls: string[] = [];
    await runStep(gatedPorts(world.ports, { before: (call) => void calls.push(call), after: () => undefined }), step);
    expect(calls.filter((call) => call === 'jobs.get')).toHaveLength(1);
  });

  it('may be cancelled once more while it stops, and not when it has', async () => {
    const { world } = await bigRegion();
    const jobId = await startBackup(world.ports, VAULT, KEY, { kind: 'onDemand' });
    await until(world, 'transfer-unit');
    const died = {
      ...world.ports,
      vaults: { ...world.ports.vaults, open: () => Promise.reject(new Error('died here')) },
    };
    await expect(cancelJob(died, { vault: VAULT, jobId })).rejects.toThrow('died here');
    expect(await world.job(jobId)).toMatchObject({ status: 'Cancelling' });
    await cancel(world, jobId);
    const { status, errors } = await world.job(jobId);
    expect([status, errors.length]).toEqual(['Cancelled', 1]);
    await expect(cancel(world, jobId)).rejects.toMatchObject({ code: 'UserErrorJobNotCancellable' });
  });
});
