import { describe, expect, it } from 'vitest';
import { createLog } from '../../shared/app/log.ts';
import { settle } from '../../shared/app/settle.ts';
import { ok } from '../../shared/arm/http.ts';
import { withRequestIds } from '../../shared/arm/serve.ts';
import { jobId } from '../../shared/domain/ids.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import { subjectOf } from '../../shared/queue/steps.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { readJob } from '../../shared/services/jobs.ts';
import { currentIds, labelled, withIds } from '../../shared/services/request-context.ts';
import { createWorld, VAULT } from '../support/world.ts';

const CORRELATION = '11111111-2222-4333-8444-555555555555';

describe('the ids of the work in hand', () => {
  it('label every line, across waits, and never those of others', async () => {
    const lines: string[] = [];
    const work = (name: string) =>
      withIds({ requestId: `r-${name}`, correlationId: `c-${name}` }, async () => {
        for (let i = 0; i < 3; i++) {
          await Promise.resolve();
          lines.push(labelled(name));
        }
      });
    await Promise.all([work('a'), work('b')]);
    expect(lines.toSorted()).toEqual(
      ['a', 'a', 'a', 'b', 'b', 'b'].map((n) => `request=r-${n} correlation=c-${n} ${n}`),
    );
    expect(currentIds()).toBeUndefined();
    expect(labelled('outside')).toBe('outside');
  });

  it('of a request stand in its failures and in its answer', async () => {
    const lines: string[] = [];
    const ports = { ids: { guid: () => 'the-id', hex: () => '' }, log: (line: string) => lines.push(labelled(line)) };
    const headers = new Headers({ 'x-ms-correlation-request-id': CORRELATION });
    const request = { method: 'GET', url: 'http://here/', headers, body: null };
    const failing = await withRequestIds(ports, request, async () => {
      throw new TypeError('inside');
    });
    const fine = await withRequestIds(ports, request, async () => ok(currentIds()));
    const ids = { 'x-ms-request-id': 'the-id', 'x-ms-correlation-request-id': CORRELATION };
    expect([failing.headers, fine.headers]).toEqual([expect.objectContaining(ids), expect.objectContaining(ids)]);
    expect(lines[0]).toMatch(new RegExp(`^request=the-id correlation=${CORRELATION} error the-id: TypeError: inside`));
    expect(fine.body).toEqual({ requestId: 'the-id', correlationId: CORRELATION });
  });
});

describe('a job', () => {
  it('keeps the correlation id of the request that started it, and its steps work under it', async () => {
    const world = await createWorld();
    await world.createVm('vm', [65_536]);
    await world.protect('vm');
    const job = await withIds({ requestId: 'r', correlationId: CORRELATION }, () =>
      startBackup(world.ports, VAULT, itemKey('app', 'vm'), { kind: 'onDemand' }),
    );
    const address = { vault: VAULT, jobId: jobId(job) };
    expect((await readJob(world.ports, address))?.activityId).toBe(CORRELATION);
    const seen: string[] = [];
    const hear = (line: string) => void seen.push(line);
    const context = { invocationId: 'inv', functionName: 'fn', info: hear, warn: hear, error: hear };
    const log = createLog({ format: 'text', secrets: [], print: hear });
    const step = async () => {
      seen.push(labelled('before'));
      await readJob(world.ports, address);
      throw new BackupError('StorageUnavailable', 'gone');
    };
    await expect(settle(context, log, step, { jobId: job })).rejects.toThrow('gone');
    expect(seen).toEqual([
      `request=inv correlation=inv job=${job} before`,
      `request=inv correlation=${CORRELATION} job=${job} item=app;vm StorageUnavailable: gone`,
    ]);
    const other = withIds({ requestId: 'r', correlationId: 'c', jobId: 'another' }, async () => {
      await readJob(world.ports, address);
      return currentIds()?.correlationId;
    });
    expect(await other).toBe('c');
  });

  it('of a message is the one that its step names', () => {
    const step = { v: 1, vault: 'v', jobId: CORRELATION, step: 'take-snapshot' };
    expect(subjectOf(JSON.stringify(step))).toEqual({ vault: 'v', jobId: CORRELATION });
    expect(subjectOf({ v: 1, vault: 'v', itemId: 'g;vm', step: 'sweep-item' })).toEqual({ vault: 'v', item: 'g;vm' });
    expect(subjectOf('no step')).toEqual({});
  });
});
