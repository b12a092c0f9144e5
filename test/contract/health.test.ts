import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPlatform, type Platform } from '../../local/platform/start.ts';

let dataDir: string;
let platform: Platform;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'strata-health-'));
  platform = await startPlatform({ dataDir, portBase: 0, say: () => {}, output: () => {} });
});
afterAll(async () => {
  if (platform !== undefined) process.kill(platform.storagePid, 'SIGCONT');
  await platform?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

async function ask(path = '', key?: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${platform.endpoints.http}/api/health${path}`, {
    headers: key === undefined ? {} : { 'x-functions-key': key },
  });
  return { status: answer.status, text: await answer.text() };
}

describe('GET /api/health', () => {
  it('is 200 while storage answers, 503 while it does not, and 200 again', { timeout: 120_000 }, async () => {
    expect(await ask()).toEqual({ status: 200, text: '{"status":"ok"}' });
    process.kill(platform.storagePid, 'SIGSTOP');
    const stopped = await vi.waitFor(
      async () => {
        const seen = await ask();
        expect(seen.status).toBe(503);
        return seen;
      },
      { timeout: 60_000 },
    );
    expect(stopped.text).toBe('{"status":"unavailable"}');
    const details = await ask('/details', platform.endpoints.functionKey);
    expect(JSON.parse(details.text)).toMatchObject({
      status: 'unavailable',
      checks: ['tables', 'queues', 'vaults'].map((name) => ({ name, ok: false, problem: expect.any(String) })),
    });
    process.kill(platform.storagePid, 'SIGCONT');
    await vi.waitFor(async () => expect((await ask()).status).toBe(200), { timeout: 60_000 });
  });

  it('tells details to holders of a function key alone', async () => {
    expect((await ask('/details')).status).toBe(401);
    expect((await ask('/details', 'wrong')).status).toBe(401);
    const { status, text } = await ask('/details', platform.endpoints.functionKey);
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ checks: [{ name: 'tables', ok: true }, { ok: true }, { ok: true }] });
  });
});
