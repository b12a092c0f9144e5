import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { parseRoute } from '../../local/host/routes.ts';
import { startHostChild } from '../../local/platform/host-child.ts';
import { HOST_KEYS } from '../support/functions-host.ts';

const SUPPORT = fileURLToPath(new URL('../support', import.meta.url));
const dirs: string[] = [];
afterEach(() => Promise.all(dirs.splice(0).map((dir) => rm(dir, { recursive: true, force: true }))));

/** Starts an app of one file; beside test/support, so that it finds @azure/functions. */
async function startApp(code: string, files: Record<string, string> = {}) {
  const appDir = await mkdtemp(join(SUPPORT, 'broken-app-'));
  dirs.push(appDir);
  const all = {
    'package.json': '{"type":"module","main":"functions/*.js"}',
    'host.json': '{"version":"2.0"}',
    ...(code === '' ? {} : { 'functions/only.js': code }),
    ...files,
  };
  for (const [name, content] of Object.entries(all)) {
    await mkdir(dirname(join(appDir, name)), { recursive: true });
    await writeFile(join(appDir, name), content);
  }
  const clockFile = join(appDir, 'clock.json');
  const timerStatusFile = join(appDir, 'timers.json');
  const env = { PATH: process.env['PATH'], STRATA_LOG: 'critical', AzureWebJobsStorage: 'UseDevelopmentStorage=true' };
  const host = await startHostChild({ appDir, role: 'main', clockFile, timerStatusFile, keys: HOST_KEYS }, env);
  await host.stop();
}

const IMPORT = `import { app, output } from '@azure/functions';\n`;

describe('an app that cannot be served is refused with the reason', () => {
  it.each([
    ['no compiled files', '', /no file matches "functions\/\*\.js".*npm run build/],
    ['a syntax error', 'const = 1;', /functions\/only\.js does not load: SyntaxError/],
    ['a failing import', `import './missing.js';`, /functions\/only\.js does not load: Error: Cannot find module/],
    [
      'code that throws',
      `${IMPORT}throw new Error('no such setting');`,
      /only\.js does not load: Error: no such setting.*only\.js:2/,
    ],
    ['no function', IMPORT, /registered no function/],
    [
      'one name twice',
      `${IMPORT}for (const _ of [1, 2]) app.http('a', { handler: () => ({}) });`,
      /"a" has already been registered/,
    ],
    [
      'a schedule with a bad field',
      `${IMPORT}app.timer('t', { schedule: '0 99 * * * *', handler() {} });`,
      /'t' function is in error: .*minute "99"/,
    ],
    [
      'a missing app setting',
      `${IMPORT}app.storageQueue('q', { connection: 'Nowhere', queueName: 'q-1', handler() {} });`,
      /'q' function is in error: the app setting Nowhere/,
    ],
    [
      'a missing %setting%',
      `${IMPORT}app.storageQueue('q', { connection: 'AzureWebJobsStorage', queueName: '%NAME%', handler() {} });`,
      /%NAME% is not set/,
    ],
    [
      'a bad queue name',
      `${IMPORT}app.storageQueue('q', { connection: 'AzureWebJobsStorage', queueName: 'Q_1', handler() {} });`,
      /"Q_1" is not a queue name/,
    ],
    [
      'a trigger that is not there',
      `${IMPORT}app.storageBlob('b', { connection: 'AzureWebJobsStorage', path: 'a/{name}', handler() {} });`,
      /no trigger of type "blobTrigger"/,
    ],
    [
      'an output that is not there',
      `${IMPORT}app.http('h', { handler: () => ({}), extraOutputs: [output.table({ connection: 'AzureWebJobsStorage', tableName: 't' })] });`,
      /no out binding of type "table"/,
    ],
    [
      'a bad route',
      `${IMPORT}app.http('h', { route: 'a/{*b}/c', handler: () => ({}) });`,
      /'h' function is in error: .*catch-all/,
    ],
    [
      'one route twice',
      `${IMPORT}app.http('a', { route: 'x/y', handler: () => ({}) });app.http('b', { route: 'X/y', handler: () => ({}) });`,
      /b and a both serve GET/,
    ],
    [
      'HTTP streaming',
      `${IMPORT}app.setup({ enableHttpStream: true });app.http('a', { handler: () => ({}) });`,
      /leave HTTP streaming off/,
    ],
  ])('%s', async (_, code, message) => {
    await expect(startApp(code)).rejects.toThrow(message);
  });

  it.each([
    ['{"version":"1.0"}', /version/],
    ['{"version":"2.0","extensions":{"queues":{"batchSize":33}}}', /extensions\.queues\.batchSize/],
    ['{"version":"2.0","functionTimeout":"30 minutes"}', /functionTimeout.*not a time span/],
    ['{', /host\.json is not JSON/],
  ])('host.json %s', async (hostJson, message) => {
    const code = `${IMPORT}app.http('a', { handler: () => ({}) });`;
    await expect(startApp(code, { 'host.json': hostJson })).rejects.toThrow(message);
  });
});

describe('hooks run as in the Azure worker', () => {
  it('around the app and its invocations', async () => {
    const code = `${IMPORT}
      import { writeFileSync, appendFileSync } from 'node:fs';
      const file = new URL('../hooks.txt', import.meta.url);
      const note = (text) => appendFileSync(file, text + ' ');
      app.hook.appStart((context) => note('start'));
      app.hook.appTerminate(() => note('end'));
      app.hook.preInvocation((context) => { note('before'); context.inputs = [{ isPastDue: 'replaced' }]; });
      app.hook.postInvocation((context) => { note('after:' + context.error.message); });
      app.timer('t', { schedule: '0 0 0 1 1 *', runOnStartup: true, handler(timer) { note(timer.isPastDue); throw new Error('x'); } });`;
    const { readFile } = await import('node:fs/promises');
    await startApp(code);
    const text = await readFile(join(dirs.at(-1) as string, 'hooks.txt'), 'utf8');
    expect(text).toBe('start before replaced after:x end ');
  });
});

describe('routes', () => {
  it.each([
    ['a/{b}', '/a/x%20y', { b: 'x y' }],
    ['a/{b}', '/a', undefined],
    ['a/{b}', '/a//', undefined],
    ['a/{b?}', '/a', {}],
    ['a/{b=7}', '/a', { b: '7' }],
    ['{*rest}', '/', {}],
    ['api/{*rest}', '/api/x/y/', { rest: 'x/y' }],
    ['a/{id:int}', '/a/5', { id: '5' }],
    ['a/{id:int}', '/a/five', undefined],
    ['a/{id:guid}', '/a/7f0c1a52-7a0b-4a51-9d2f-0f7b1f2f3a4b', { id: '7f0c1a52-7a0b-4a51-9d2f-0f7b1f2f3a4b' }],
    ['a/{n:length(2,3)}', '/a/abcd', undefined],
    ['a/{n:regex(^x/?\\d{{2}}$)}', '/a/x12', { n: 'x12' }],
    ['files/{name}.{ext}', '/files/report.final.pdf', { name: 'report.final', ext: 'pdf' }],
    [
      'subscriptions/{s}/providers/Microsoft.RecoveryServices/vaults',
      '/Subscriptions/1/providers/microsoft.recoveryservices/vaults',
      { s: '1' },
    ],
  ])('%s on %s', (template, path, expected) => {
    expect(parseRoute(template).match(path)).toEqual(expected);
  });
});
