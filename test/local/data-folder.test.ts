import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseClockRequest } from '../../local/clock/control.ts';
import { dataFolder, lockFolder } from '../../local/platform/data-folder.ts';
import { readEndpoints } from '../../local/platform/endpoints.ts';
import { choosePorts, firstPorts, keepPorts } from '../../local/platform/ports.ts';

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'strata-folder-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('the data folder', () => {
  it('is made with all its parents and locked', () => {
    const unlock = lockFolder(dataFolder(join(root, 'a', 'b')));
    expect(() => lockFolder(dataFolder(join(root, 'a', 'b')))).toThrow(/already running/);
    unlock();
  });

  it.each(['/proc/strata', '/proc/strata/below'])('is refused in a line where it cannot be made: %s', (path) => {
    expect(() => lockFolder(dataFolder(path))).toThrow(/data folder cannot be used: .*STRATA_DATA/);
  });

  it('is refused where a file lies', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => lockFolder(dataFolder(join(root, 'file')))).toThrow(/data folder cannot be used/);
  });

  it.each(['{garbage', '{"http":5}', ''])('has a damaged endpoints.json: %s', (text) => {
    const path = join(root, 'endpoints.json');
    writeFileSync(path, text);
    expect(() => readEndpoints(path)).toThrow(`${path} is damaged`);
  });
});

describe('ports', () => {
  it('stay the same from run to run, but for those that are taken', async () => {
    const taken = createServer();
    const { promise, resolve } = Promise.withResolvers<void>();
    taken.listen(0, '127.0.0.1', resolve);
    await promise;
    const { port } = taken.address() as { port: number };
    const path = join(root, 'ports.json');
    expect(firstPorts(path)).toBeUndefined();
    expect(await choosePorts(0, undefined)).toEqual({ http: 0, https: 0, blob: 0, queue: 0, table: 0 });

    const before = { http: 0, https: 0, blob: port, queue: 0, table: 0 };
    keepPorts(path, before);
    expect(firstPorts(path)).toEqual(before);
    expect(await choosePorts(0, before)).toEqual({ ...before, blob: 0 });
    await new Promise((closed) => taken.close(closed));
    expect(await choosePorts(0, before)).toEqual(before);
    writeFileSync(path, 'garbage');
    expect(firstPorts(path)).toBeUndefined();
  });
});

it('refuses a move of the clock whose timers would run for hours', () => {
  const body = (now: string) => JSON.stringify({ now });
  const start = Date.parse('2026-01-01T00:00:00Z');
  expect(parseClockRequest(body('2027-02-04T00:00:00Z'), start)).toBe(Date.parse('2027-02-04T00:00:00Z'));
  expect(() => parseClockRequest(body('2027-02-06T00:00:00Z'), start)).toThrow(/more than 400 days/);
});
