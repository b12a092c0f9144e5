import { expect, it } from 'vitest';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { B, KEY, block, letPass, live, stage, start, until, vaultOnly } from './stage.ts';

/** Handlers' ports that let a merge and its deletes happen between the reading of a record and the reading of its manifests. */
async function meanwhile() {
  const set = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 5));
  const first = await backUp(2);
  await world.disks.write(disk, B, block(2, 2));
  const second = await backUp(30);
  world.clock.advance(3 * DAY_MS);
  let merged = false;
  const late: Ports = {
    ...world.ports,
    vaults: {
      ...world.ports.vaults,
      async open(name) {
        const real = await world.ports.vaults.open(name);
        return {
          ...real,
          async readWhole(blob) {
            if (!merged && blob.includes('/points/')) {
              merged = true;
              await cleanUp(world.ports);
              await letPass(world, 5 * 60_000); // the merge, and after the grace its deletes
              expect(live(world)).not.toContain(first);
            }
            return real.readWhole(blob);
          },
        };
      },
    },
  };
  return { ...set, second, late };
}

it('a manifest that a merge has replaced meanwhile is not lost: the transfer goes on from its base', async () => {
  const { world, disk, late } = await meanwhile();
  await world.disks.write(disk, 4 * B, block(3));
  const id = await start(world);
  const plan = await until(world, 'plan-transfer');
  await runStep(late, plan.step);
  await world.drain();
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  expect(job.sources).toMatchObject([{ source: 'diff' }]);
});

it('a manifest that a merge has replaced meanwhile is not damage: the restore goes on', async () => {
  const { world, second, late } = await meanwhile();
  await vaultOnly(world);
  const id = await startRestore(world.ports, VAULT, KEY, second, { accountId: '/x/restored' });
  const plan = await until(world, 'plan-restore');
  await runStep(late, plan.step);
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});
