import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readEndpoints } from '../../local/platform/endpoints.ts';
import { HOST_APP } from '../support/functions-host.ts';

const MAIN = fileURLToPath(new URL('../../local/main.ts', import.meta.url));

interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  output(): string;
}

describe('npm start', () => {
  let dir: string;
  const programs: Program[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'strata-main-'));
  });
  afterEach(async () => {
    for (const { child, ended } of programs.splice(0).reverse()) {
      child.kill('SIGTERM');
      await ended;
    }
    await rm(dir, { recursive: true, force: true });
  });

  /** `node local/main.ts` in a process group of its own, as a terminal starts it. */
  function run(env: Record<string, string> = {}): Program {
    const settings = {
      STRATA_DATA: dir,
      STRATA_PORT_BASE: '0',
      AzureWebJobsScriptRoot: HOST_APP,
      WORK_QUEUE: 'work',
      RELAY_QUEUE: 'relay',
      HOST_APP_RECORD: join(dir, 'events.jsonl'),
      ...env,
    };
    const child = spawn(process.execPath, [MAIN], { env: { ...process.env, ...settings }, detached: true });
    let text = '';
    const keep = (chunk: Buffer): void => void (text += chunk.toString());
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const ended = once(child, 'close').then(([code]) => code as number | null);
    const program = { child, ended, output: () => text };
    programs.push(program);
    return program;
  }
  const saying = (program: Program, text: string | RegExp) =>
    vi.waitFor(() => expect(program.output()).toMatch(text), { timeout: 20_000, interval: 50 });
  const isAlive = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  it.each(['SIGTERM', 'SIGINT'] as const)('says what is where and stops cleanly on %s', async (signal) => {
    const platform = run();
    await saying(platform, 'Strata is ready');
    const { http, https, caFile } = readEndpoints(join(dir, 'endpoints.json'));
    for (const part of [http, https, caFile, 'stratapremium1 (premium)']) expect(platform.output()).toContain(part);
    // Ctrl-C reaches every process of the group.
    process.kill(signal === 'SIGINT' ? -(platform.child.pid as number) : (platform.child.pid as number), signal);
    expect(await platform.ended).toBe(0);
    expect(existsSync(join(dir, 'endpoints.json'))).toBe(false);
  });

  it('ends with one line and 1 when the folder is taken or a setting is wrong', async () => {
    const platform = run();
    await saying(platform, 'Strata is ready');
    for (const [env, message] of [
      [{}, /^error: a platform is already running on .*\n$/],
      [{ STRATA_ROLE: 'boss' }, /^error: STRATA_ROLE must be "worker".*\n$/],
      [{ STRATA_STORAGE: 'other' }, /^error: STRATA_STORAGE must be .*\n$/],
      [{ STRATA_DATA: join(dir, 'a'), STRATA_PORT_BASE: 'x' }, /^error: STRATA_PORT_BASE must be .*\n$/],
      [{ STRATA_DATA: join(dir, 'b'), STRATA_ROLE: 'worker' }, /^error: no platform is running: .*\n$/],
      [{ STRATA_DATA: join(dir, 'c'), AzureWebJobsScriptRoot: dir }, /^error: .*host\.json is missing.*\n$/],
    ] as const) {
      const other = run(env);
      expect(await other.ended).toBe(1);
      expect(other.output()).toMatch(message);
    }
  });

  it('joins as a worker, which ends with its platform', async () => {
    const platform = run();
    await saying(platform, 'Strata is ready');
    const worker = run({ STRATA_ROLE: 'worker' });
    await saying(worker, /ready: a worker \(pid \d+\)/);
    const second = run({ STRATA_ROLE: 'worker' });
    await saying(second, /ready: a worker/);
    second.child.kill('SIGTERM');
    expect(await second.ended).toBe(0);
    platform.child.kill('SIGTERM');
    expect(await platform.ended).toBe(0);
    expect(await worker.ended).toBe(0);
    expect(worker.output()).toContain('the platform has stopped');
  });

  it('takes its children along when it is killed, and starts again on the folder', async () => {
    const platform = run();
    await saying(platform, 'Strata is ready');
    const hostPid = Number(/main, pid (\d+)/.exec(platform.output())?.[1]);
    platform.child.kill('SIGKILL');
    const again = run();
    await saying(again, 'Strata is ready');
    await vi.waitFor(() => expect(isAlive(hostPid)).toBe(false), { timeout: 15_000 });
  });

  it('ends with 1 when its storage is lost', async () => {
    const platform = run({ STRATA_STORAGE: 'stock' });
    await saying(platform, '(stock)');
    const { execFileSync } = await import('node:child_process');
    const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(platform.child.pid)], {
      encoding: 'utf8',
    });
    const storagePid = Number(/^\s*(\d+) .*storage\/process\.ts/m.exec(children)?.[1]);
    process.kill(storagePid, 'SIGKILL');
    expect(await platform.ended).toBe(1);
    expect(platform.output()).toContain('error: the storage process ended unexpectedly');
  });
});
