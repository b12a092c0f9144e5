import { expect, it } from 'vitest';
import { sasGrants, SasRefused } from '../../shared/disk/sas-grants.ts';
import { BackupError, ERROR_TABLE, isBackupError } from '../../shared/domain/errors.ts';

it('a reader whose access other workers end again and again is told to come again later: their going idle must not fail a backup', async () => {
  let access = 0;
  const compute = {
    open: () => Promise.resolve(`https://disk.example/bytes?sig=secret${++access}`),
    close: () => Promise.resolve(void (access += 100)),
  };
  const reader = sasGrants(compute, { lingerMs: 0 });
  const others = sasGrants(compute, { lingerMs: 0 });
  const failure = await reader
    .use('disk', ['snapshot'], async ([url]) => {
      // Another worker has read the same snapshot just now, and has no more use for it.
      await others.use('disk', ['snapshot'], () => Promise.resolve());
      await others.end('disk', 'snapshot');
      throw new SasRefused(`403 at ${url!.split('?')[0]}`);
    })
    .catch((error: unknown) => error);
  if (!isBackupError(failure)) throw failure;
  expect(ERROR_TABLE[failure.code].retry).toBe(true);
  expect(failure.message).not.toContain('sig=');
});

it('a renewal that Compute refuses leaves the access as it is until its time is over, for all readers', async () => {
  let nowMs = 0;
  let refused = 0;
  let isOpen = false;
  let opened = 0;
  const compute = {
    async open() {
      await new Promise((then) => setImmediate(then));
      if (isOpen) {
        refused++;
        throw new BackupError('SnapshotAccessLimit', 'it is open already');
      }
      isOpen = true;
      return `https://disk.example/bytes?sig=${++opened}`;
    },
    close: () => Promise.resolve(void (isOpen = false)),
  };
  const grants = sasGrants(compute, { seconds: 100, lingerMs: 3_600_000, patienceMs: 0, now: () => nowMs });
  const read = () =>
    grants.use('disk', ['snapshot'], ([url]) => {
      if (!isOpen) throw new SasRefused('403');
      return Promise.resolve(url!.slice(-1));
    });
  expect(await read()).toBe('1');
  nowMs = 50_000;
  expect(await Promise.all([read(), read(), read()])).toEqual(['1', '1', '1']);
  expect(refused).toBe(1);
  nowMs = 60_000;
  await read();
  expect(refused).toBe(1);
  nowMs = 90_000;
  expect(await read()).toBe('1');
  expect(refused).toBe(2);
  // Its time is over, by the storage's clock first.
  isOpen = false;
  nowMs = 99_000;
  expect(await read()).toBe('2');
  await grants.end('disk', 'snapshot');
});
