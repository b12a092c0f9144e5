import { expect, it } from 'vitest';
import { sasGrants, SasRefused } from '../../shared/disk/sas-grants.ts';
import { ERROR_TABLE, isBackupError } from '../../shared/domain/errors.ts';

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
