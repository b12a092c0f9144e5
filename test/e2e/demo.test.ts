import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { seededRandom } from '../../cli/demo/real-files.ts';
import { fixedFooter } from '../../shared/domain/vhd-footer.ts';

const DEMO = fileURLToPath(new URL('../../cli/demo.ts', import.meta.url));

/** What `--json` promises. */
const result = z.object({
  ok: z.boolean(),
  points: z.array(
    z.object({
      name: z.string(),
      label: z.enum(['Snapshot', 'Snapshot and vault', 'Vault']),
      tier: z.enum(['Snapshot', 'SnapshotAndVaultStandard', 'VaultStandard']),
      sizeBytes: z.number().positive(),
      changedBlocks: z.number().positive(),
      storedBytes: z.number().positive(),
      expires: z.iso.datetime(),
    }),
  ),
  merged: z.array(z.object({ name: z.string(), labels: z.array(z.string()) })),
  restores: z.array(z.object({ point: z.string(), disk: z.string(), equal: z.boolean() })),
  totals: z.object({
    changedBytes: z.number().positive(),
    storedBytes: z.number().positive(),
    requestsPerGiB: z.number().positive(),
    mergeSeconds: z.number().positive(),
  }),
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'strata-demo-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A demo whose temporary files all lie in the test's own folder. */
function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [DEMO, ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...args);
  const ended = once(child, 'close') as Promise<[number | null]>;
  const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), ended]);
  return { code, out, err };
}

const leftovers = async (): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.startsWith('strata-demo-'));

describe('npm run demo', () => {
  it('backs up a given VHD for two weeks, restores it, and prints nothing but JSON when asked', async () => {
    const path = join(folder, 'given.vhd');
    const random = seededRandom('demo');
    const content = Buffer.alloc(3 * 2 ** 20);
    for (let at = 0; at + 4 <= 2 ** 20; at += 4) content.writeFloatLE(random(), at);
    const given = Buffer.concat([content, fixedFooter(content.length, 0)]);
    await writeFile(path, given);

    const { code, out, err } = await run('--json', '--size', '8', '--disk', path);
    expect(err).toContain('every byte is right');
    const { ok, points, merged, restores, totals } = result.parse(JSON.parse(out));
    expect([code, ok]).toEqual([0, true]);
    expect(points.length + merged.length).toBe(15);
    expect(merged.length).toBeGreaterThanOrEqual(3);
    expect(new Set(points.map(({ label }) => label))).toEqual(new Set(['Snapshot and vault', 'Vault']));
    expect(merged.every(({ labels }) => labels.includes('Snapshot and vault'))).toBe(true);
    expect(restores).toHaveLength(6);
    expect(restores.every(({ equal }) => equal)).toBe(true);
    expect(new Set(restores.map(({ point }) => point))).toEqual(
      new Set([points.at(0), points.at(Math.floor(points.length / 2)), points.at(-1)].map((point) => point?.name)),
    );
    expect(totals.storedBytes).toBe(points.reduce((sum, { storedBytes }) => sum + storedBytes, 0));
    expect((await readFile(path)).equals(given)).toBe(true);
    expect(await leftovers()).toEqual([]);
  });

  it('stops at Ctrl-C and leaves nothing behind', async () => {
    const child = start('--size', '8');
    const ended = once(child, 'close') as Promise<[number | null]>;
    const err = text(child.stderr!);
    while (!(await leftovers()).some((name) => existsSync(join(folder, name, 'platform', 'endpoints.json'))))
      await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill('SIGINT');
    const [code] = await ended;
    expect(await err).toMatch(/stopping\n$/);
    expect(code).toBe(130);
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    [['--quick'], /^error: Unknown option '--quick'; --help lists the options\n$/],
    [['--disk', join(tmpdir(), 'strata-no-such.img')], /^error: --disk \S+: there is no such file\n$/],
    [['--disk', tmpdir()], /^error: --disk \S+: this is no regular file\n$/],
  ])('refuses %j in one line, with status 2', async (args, message) => {
    const { code, out, err } = await run(...args);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([2, '']);
  });

  it('says what it can do', async () => {
    const { code, out } = await run('--help');
    expect(code).toBe(0);
    expect(out).toMatch(/--disk FILE[^]*--json[^]*Exit status/);
  });
});
