import { expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { createWorld, VAULT } from '../support/world.ts';

/* What a restore has made is written down in a storage account, which may be the only thing there when all disks are managed ones. */

const managed = { groupId: '/subscriptions/sub/resourceGroups/restored', all: true };

it('an account that Strata may not write to is noticed before any disk is made', async () => {
  const world = await createWorld({
    wrap: (ports) => ({
      ...ports,
      targets: {
        ...ports.targets,
        putText: () => Promise.reject(new BackupError('AuthorizationFailed', 'no right to this account')),
      },
    }),
  });
  await world.createVm('vm', [4 * BLOCK_BYTES]);
  await world.protect('vm');
  await world.backup('vm');
  const [point] = await world.points('vm');
  const before = world.disks.urls();
  const id = await startRestore(world.ports, VAULT, itemKey('app', 'vm'), point!.point, { accountId: '/x/a', managed });
  await world.drain();
  const job = await world.job(id);
  expect([job.status, job.errors.map(({ code }) => code)]).toEqual(['Failed', ['AuthorizationFailed']]);
  expect(world.disks.urls()).toEqual(before);
});

it('a right that is taken away meanwhile keeps no restore from ending: its disks are whole, and the job says what is not', async () => {
  let texts = 0;
  const world = await createWorld({
    wrap: (ports) => ({
      ...ports,
      targets: {
        ...ports.targets,
        putText: async (url, text) => {
          expect(url).toContain(++texts === 1 ? '/begun-vm-' : '/config-vm-'); // a late run writes over nothing
          if (texts > 1) throw new BackupError('AuthorizationFailed', 'no right to this account any more');
          await ports.targets.putText(url, text);
        },
      },
    }),
  });
  await world.createVm('vm', [4 * BLOCK_BYTES]);
  await world.protect('vm');
  await world.backup('vm');
  const [point] = await world.points('vm');
  const id = await startRestore(world.ports, VAULT, itemKey('app', 'vm'), point!.point, { accountId: '/x/a', managed });
  await world.drain();
  const job = await world.job(id);
  expect([job.status, job.errors.map(({ code }) => code)]).toEqual(['CompletedWithWarnings', ['AuthorizationFailed']]);
  const disk = world.disks.urls().find((url) => url.startsWith(managed.groupId))!;
  expect((await world.disks.metadata(disk))?.['strata_incomplete']).toBeUndefined();
  expect((await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row.pins).toEqual([]);
});
