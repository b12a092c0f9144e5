import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERROR_TABLE } from '../../shared/domain/errors.ts';

it('docs/errors.md lists every code with its status, and no other', () => {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const listed = [...page.matchAll(/^\| `(\w+)` *\| (\d{3}) *\|/gm)].map(([, code, http]) => `${code} ${http}`);
  expect(listed.sort()).toEqual(
    Object.entries(ERROR_TABLE)
      .map(([code, { http }]) => `${code} ${http}`)
      .sort(),
  );
});
