import { expect, it } from 'vitest';
import { startBackup } from '../../shared/services/backup.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { sweepItem } from '../../shared/services/sweep.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { findInVault } from '../../shared/services/vault-of.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';
import { B, block, until } from './stage.ts';

/* What is done for each item must not grow with the number of items: a night of a thousand would ask a million times. */

async function manyItems() {
  const world = await createWorld();
  const names = Array.from({ length: 10 }, (_, i) => `vm${i}`);
  for (const name of names) {
    await world.createVm(name, [2 * B]);
    await world.protect(name);
  }
  const calls: string[] = [];
  const ports = gatedPorts(world.ports, { before: (call) => void calls.push(call), after: () => undefined });
  const asked = (call: string): number => calls.filter((each) => each === call).length;
  return { world, names, ports, asked };
}

it("a sweep of one item reads that item's open jobs alone", async () => {
  const { world, names, ports, asked } = await manyItems();
  for (const name of names) await startBackup(world.ports, VAULT, itemKey('app', name), { kind: 'onDemand' });
  await sweepItem(ports, { vault: VAULT, itemId: itemKey('app', names[0]!) });
  expect(asked('jobs.get')).toBe(1); // for its objects; it has no snapshots yet, which would name their jobs
});

it('a tick looks at each policy once', async () => {
  const { world, names, ports, asked } = await manyItems();
  expect(await takeDue(ports)).toBe(0);
  expect(asked('policies.get')).toBe(1);
  world.clock.advance(DAY_MS);
  expect(await takeDue(ports)).toBe(names.length);
});

it('the units of a transfer look at the row of their vault once, and again where it leads to another container', async () => {
  const world = await createWorld();
  const [disk] = await world.createVm('vm', [64 * B]);
  for (let at = 0; at < 64; at += 4) await world.disks.write(disk!, at * B, block(at + 1, 4));
  await world.protect('vm');
  const id = await startBackup(world.ports, VAULT, itemKey('app', 'vm'), { kind: 'onDemand' });
  const calls: string[] = [];
  const ports = gatedPorts(world.ports, { before: (call) => void calls.push(call), after: () => undefined });
  const first = await until(world, 'transfer-unit');
  world.queue.putBack(first);
  const units = world.queue.due().filter(({ step }) => step.step === 'transfer-unit');
  expect(units.length).toBeGreaterThan(10);
  for (const unit of units.slice(1)) await runStep(ports, world.queue.take(unit.id)!.step);
  expect(calls.filter((call) => call === 'vaults.get')).toHaveLength(1);

  // What the process has seen is old: a rebuild has found another container.
  const [partition, key] = [VAULT.slice(0, VAULT.indexOf('|')), VAULT.slice(VAULT.indexOf('|') + 1)];
  const { row } = (await ports.catalog.vaults.get(partition, key))!;
  await world.ports.vaults.open('other');
  await world.ports.catalog.vaults.upsert(partition, key, { ...row, containerName: 'other' });
  const wrong = gatedPorts(world.ports, { before: () => undefined, after: () => undefined });
  await findInVault(wrong, VAULT, async () => undefined);
  await world.ports.catalog.vaults.upsert(partition, key, row);
  await runStep(wrong, world.queue.take(units[0]!.id)!.step);
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});
