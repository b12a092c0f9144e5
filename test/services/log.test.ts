import { describe, expect, it } from 'vitest';
import { secretsOf } from '../../shared/app/config.ts';
import { createLog, inInvocation } from '../../shared/app/log.ts';
import { settle } from '../../shared/app/settle.ts';
import { errorAnswer } from '../../shared/arm/errors.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import { describeError } from '../../shared/services/jobs.ts';
import { withIds } from '../../shared/services/request-context.ts';

const KEY = 'c2VjcmV0LWtleS1vZi1hbi1hY2NvdW50';
const SAS = 'https://a/b?sv=1&sig=c2lnbmF0dXJl';

/** An invocation that keeps what it is told, with the level at which it is. */
function hearing() {
  const heard: [string, string][] = [];
  const at = (level: string) => (line: string) => void heard.push([level, line]);
  const context = { invocationId: 'inv', functionName: 'fn', info: at('i'), warn: at('w'), error: at('e') };
  return { heard, context };
}

describe('the log', () => {
  it('writes one JSON object a line, with what it knows of the work in hand', () => {
    const lines: string[] = [];
    const log = createLog({ format: 'json', secrets: [], print: (line) => lines.push(line) });
    log('outside');
    withIds({ requestId: 'r', correlationId: 'c', jobId: 'j', vault: 'v', item: 'g;vm' }, () => log('a\nb', 'error'));
    const [outside, inside] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.join('')).not.toContain('\n');
    expect(outside).toEqual({ time: expect.any(String), level: 'warning', message: 'outside' });
    expect(inside).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      level: 'error',
      message: 'a\nb',
      requestId: 'r',
      correlationId: 'c',
      jobId: 'j',
      vault: 'v',
      item: 'g;vm',
    });
  });

  it('gives lines to the invocation that they belong to, at their level', async () => {
    const { heard, context } = hearing();
    const log = createLog({ format: 'json', secrets: [], print: () => expect.unreachable() });
    await inInvocation(context, async () => {
      log('1', 'info');
      await Promise.resolve();
      log('2');
      log('3', 'error');
    });
    expect(heard.map(([level]) => level)).toEqual(['i', 'w', 'e']);
    expect(JSON.parse(heard[0]![1])).toMatchObject({ function: 'fn', invocationId: 'inv', message: '1' });
  });

  it('hides the secrets of the deployment, and what looks like one', () => {
    const lines: string[] = [];
    const secrets = secretsOf({
      AzureWebJobsStorage: `AccountName=a;AccountKey=${KEY};X=1`,
      STRATA_STORAGE_ACCOUNTS: '[{"account":"b","key": "the-key-of-b"}]',
      AZURE_CLIENT_SECRET: 'the-client-secret',
      STRATA_SUBSCRIPTION_ID: 'no-secret',
    });
    expect(secrets).toEqual([KEY, 'the-key-of-b', 'the-client-secret']);
    const log = createLog({ format: 'text', secrets, print: (line) => lines.push(line) });
    log(`${KEY} the-key-of-b the-client-secret ${SAS}`);
    expect(lines).toEqual(['*** *** *** https://a/b?sv=1&sig=***']);
  });
});

describe('a failure that has a secret in it', () => {
  it('is thrown on without it, whether in the message or in a cause', async () => {
    const { heard, context } = hearing();
    const log = createLog({ format: 'json', secrets: [], print: () => expect.unreachable() });
    const fail = async (error: unknown): Promise<unknown> => {
      try {
        return await settle(context, log, async () => {
          throw error;
        });
      } catch (thrown) {
        return thrown;
      }
    };
    const shown = await fail(new TypeError(`no ${SAS}`));
    expect(shown).toMatchObject({ name: 'TypeError', message: 'no https://a/b?sv=1&sig=***' });
    const caused = await fail(new BackupError('StorageUnavailable', 'gone', { cause: new Error(SAS) }));
    const plain = new BackupError('StorageUnavailable', 'gone');
    expect(await fail(plain)).toBe(plain);
    const told = [shown, caused].map((error) => `${String((error as Error).stack)} ${String((error as Error).cause)}`);
    expect(JSON.stringify([heard, told])).not.toContain('c2lnbmF0dXJl');
  });

  it('is told to callers and on jobs without it', () => {
    const error = new BackupError('InvalidRequest', `bad ${SAS}`, { target: SAS });
    const ports = { ids: { guid: () => '', hex: () => '' }, log: () => {} };
    const told = JSON.stringify([errorAnswer(error, 'r', () => {}), describeError(error, ports)]);
    expect(told).toContain('bad https://a/b?sv=1&sig=***');
    expect(told).not.toContain('c2lnbmF0dXJl');
  });
});
