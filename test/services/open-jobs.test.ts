import { expect, it } from 'vitest';
import { startBackup } from '../../shared/services/backup.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { sweepItem } from '../../shared/services/sweep.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';
import { B } from './stage.ts';

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
  expect(asked('jobs.get')).toBe(2); // for its objects, and for its snapshots
});

it('a tick looks at each policy once', async () => {
  const { world, names, ports, asked } = await manyItems();
  expect(await takeDue(ports)).toBe(0);
  expect(asked('policies.get')).toBe(1);
  world.clock.advance(DAY_MS);
  expect(await takeDue(ports)).toBe(names.length);
});
