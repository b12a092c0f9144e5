import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { type JobId, itemId } from '../../shared/domain/ids.ts';
import { finishJob } from '../../shared/services/end-job.ts';
import { type JobsAsked, isAsked, jobsNewestFirst } from '../../shared/services/job-index.ts';
import { changeJob, insertJob, newJob } from '../../shared/services/jobs.ts';
import { vaultRowKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { pruneJobs } from '../../shared/services/prune-jobs.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* Lists of jobs: the index says what the jobs' own rows say, whoever dies meanwhile, and no list reads more than it shows. */

const OPERATIONS = ['Backup', 'Restore', 'ConfigureBackup', 'Merge', 'Verify'] as const;
const ENDS = ['Completed', 'Failed', 'Cancelled', 'CompletedWithWarnings'] as const;
const item = { itemId: itemId('vm-00000001'), vmName: 'vm', resourceGroup: 'app' };

function make(ports: Ports, operation: JobRow['operation'] = 'Backup', change: Partial<JobRow> = {}): JobRow {
  return newJob(ports, item, 'app;vm', { operation, userTriggered: true, ...change });
}

async function begin(ports: Ports, operation?: JobRow['operation'], change?: Partial<JobRow>): Promise<JobId> {
  const job = make(ports, operation, change);
  await insertJob(ports, VAULT, job);
  return job.jobId;
}

const end = (ports: Ports, jobId: JobId, status: (typeof ENDS)[number] = 'Completed'): Promise<void> =>
  finishJob(ports, { vault: VAULT, jobId }, status);

async function listed(ports: Ports, asked: Partial<JobsAsked> = {}, isIndexed = true): Promise<string[]> {
  const ids: string[] = [];
  for await (const { row } of jobsNewestFirst(ports, VAULT, isIndexed, { kind: 'service', ...asked }, 3))
    ids.push(row.jobId);
  return ids;
}

/** Whatever a list may be asked for, it is what the jobs' own rows say. */
async function expectExact({ ports }: World, times: readonly number[] = []): Promise<void> {
  const questions: JobsAsked[] = [{ kind: 'own' }, { kind: 'service' }];
  for (const status of [undefined, 'InProgress', 'Cancelling', ...ENDS] as const)
    for (const operation of [undefined, ...OPERATIONS]) questions.push({ kind: 'service', status, operation });
  for (const from of times) questions.push({ kind: 'service', from }, { kind: 'service', from, until: from + 5 });
  for (const asked of questions)
    expect(await listed(ports, asked), JSON.stringify(asked)).toEqual(await listed(ports, asked, false));
}

async function isIndexed({ ports }: World): Promise<boolean> {
  const at = vaultRowKey(VAULT);
  return (await ports.catalog.vaults.get(at.partition, at.key))?.row.jobsIndexed === true;
}

describe('lists of jobs', () => {
  it('say of each question what the jobs themselves say', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            operation: fc.constantFrom(...OPERATIONS),
            at: fc.integer({ min: 0, max: 12 }),
            end: fc.option(fc.constantFrom(...ENDS, 'Cancelling', 'Ending'), { nil: undefined }),
          }),
          { maxLength: 14 },
        ),
        async (jobs) => {
          const world = await createWorld();
          const t0 = world.clock.now();
          for (const { operation, at, end: status } of jobs) {
            const jobId = await begin(world.ports, operation, { startedAt: t0 + at });
            if (status === 'Cancelling' || status === 'Ending')
              await changeJob(world.ports, { vault: VAULT, jobId }, (row) => ({ ...row, status }));
            else if (status !== undefined) await end(world.ports, jobId, status);
          }
          await expectExact(world, [t0 - 1, t0, t0 + 4, t0 + 12, t0 + 13]);
        },
      ),
      { numRuns: 40 },
    ));

  it('begin where they are told to, at whatever job', async () => {
    const world = await createWorld();
    for (let i = 0; i < 10; i++) {
      const jobId = await begin(world.ports, 'Backup', { startedAt: i >> 1 });
      if (i % 3 > 0) await end(world.ports, jobId);
    }
    const keys: string[] = [];
    for await (const { sortKey } of jobsNewestFirst(world.ports, VAULT, true, { kind: 'service' }, 3))
      keys.push(sortKey);
    const all = await listed(world.ports);
    for (const [i, after] of keys.entries()) expect(await listed(world.ports, { after })).toEqual(all.slice(i + 1));
  });

  it('read no more rows than they show, but for the marks of jobs that run', async () => {
    const world = await createWorld();
    for (let i = 0; i < 300; i++) {
      const jobId = await begin(world.ports, i % 50 === 0 ? 'Restore' : 'Backup', { startedAt: i });
      if (i < 298) await end(world.ports, jobId, i % 10 === 0 ? 'Failed' : 'Completed');
    }
    let rows = 0;
    const { catalog } = world.ports;
    const counting = <Table extends object>(table: Table): Table =>
      new Proxy(table, {
        get: (target, method, receiver): unknown => {
          const found: unknown = Reflect.get(target, method, receiver);
          if (typeof found !== 'function') return found;
          return (...args: unknown[]) => {
            const answer: unknown = Reflect.apply(found, target, args);
            if (method === 'get') rows++;
            if (method !== 'list' && method !== 'listColumns') return answer;
            return (async function* () {
              for await (const row of answer as AsyncIterable<unknown>) {
                rows++;
                yield row;
              }
            })();
          };
        },
      });
    const ports = {
      ...world.ports,
      catalog: {
        ...catalog,
        jobs: counting(catalog.jobs),
        jobIndex: counting(catalog.jobIndex),
        openJobs: counting(catalog.openJobs),
      },
    };
    const readBy = async (asked: Partial<JobsAsked>): Promise<number> => {
      rows = 0;
      const all: string[] = [];
      for await (const { row } of jobsNewestFirst(ports, VAULT, true, { kind: 'service', ...asked }, 3)) {
        all.push(row.jobId);
        if (all.length === 3) break;
      }
      return rows;
    };
    // Two marks and the two jobs that run, and up to four entries of the index at a time.
    expect(await readBy({})).toBeLessThanOrEqual(8);
    expect(await readBy({ status: 'Failed' })).toBeLessThanOrEqual(8);
    expect(await readBy({ operation: 'Restore', status: 'Failed' })).toBeLessThanOrEqual(8);
    expect(await readBy({ from: 150, until: 160 })).toBeLessThanOrEqual(8);
    expect(await readBy({ status: 'InProgress' })).toBe(4);
  });

  it('give 10,000 jobs out once each and in order while others come, end and go', async () => {
    const world = await createWorld();
    const { ports } = world;
    // In no order, and written as they stand once they have ended.
    const lasting = new Map<string, JobRow>();
    for (let i = 0; i < 10_000; i++) {
      const job = make(ports, 'Backup', {
        startedAt: 1_000_000 + ((i * 7919) % 10_007),
        status: 'Completed',
        endedAt: 2_000_000,
      });
      lasting.set(job.jobId, job);
      await ports.catalog.jobs.insert(VAULT, job.jobId, job);
    }
    await pruneJobs({ ...ports, clock: { now: () => 2_000_000 } }, VAULT);
    const running: JobId[] = [];
    for (let i = 0; i < 40; i++) running.push(await begin(ports, 'Restore', { startedAt: 1_000_000 + i * 251 }));
    const seen: string[] = [];
    for (let after: string | undefined, pages = 0; ; pages++) {
      let given = 0;
      const asked = { kind: 'service', after } as const;
      for await (const { sortKey, row } of jobsNewestFirst(ports, VAULT, true, asked, 201)) {
        seen.push(sortKey);
        after = sortKey;
        if (lasting.has(row.jobId)) lasting.delete(row.jobId);
        else expect(row.operation).toBe('Restore');
        if (++given === 200) break;
      }
      if (given < 200) break;
      const ending = running.shift();
      if (ending !== undefined) await end(ports, ending);
      if (pages % 5 === 0) running.push(await begin(ports, 'Restore', { startedAt: 1_000_000 + pages * 97 }));
    }
    expect(lasting.size).toBe(0);
    expect(seen).toEqual([...new Set(seen)].sort());
  }, 60_000);
});

describe('a crash', () => {
  const MOMENTS = ['before', 'after'] as const;

  it.each(MOMENTS)('%s each call of a beginning or an end leaves what lists and rows agree on', async (moment) => {
    for (let at = 1; ; at++) {
      const gate = new CrashGate();
      const world = await createWorld();
      for (const operation of ['Backup', 'Merge'] as const) await end(world.ports, await begin(world.ports, operation));
      const mortal = crashing(gate)(world.ports);
      gate.at = at;
      gate.moment = moment;
      const dies = async (work: Promise<unknown>): Promise<void> => {
        try {
          await work;
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
        }
      };
      await dies(
        (async () => {
          for (const operation of ['ConfigureBackup', 'Verify'] as const)
            await end(mortal, await begin(mortal, operation), 'Failed');
        })(),
      );
      // At once, by whom the work has been left lying; and when the watch has been there.
      await expectExact(world);
      world.clock.advance(20 * 60_000);
      await watchJobs(world.ports);
      await expectExact(world);
      if (!gate.hasStruck) return expect(at).toBeGreaterThan(15);
    }
  });

  it('between the entries and the job when old jobs go leaves a job that is pruned the next day', async () => {
    for (let at = 1, hasStruck = true; hasStruck; at++) {
      const gate = new CrashGate();
      const world = await createWorld();
      await end(world.ports, await begin(world.ports, 'ConfigureBackup'));
      const lost = await begin(world.ports, 'Restore');
      await end(world.ports, lost);
      world.clock.advance(200 * 86_400_000);
      await world.ports.catalog.jobs.remove(VAULT, lost);
      gate.at = at;
      await pruneJobs(crashing(gate)(world.ports), VAULT).catch((error: unknown) => {
        if (!(error instanceof Killed)) throw error;
      });
      hasStruck = gate.hasStruck;
      // What is listed can be asked for.
      for (const id of await listed(world.ports)) if (id !== lost) expect(await world.job(id as JobId)).toBeDefined();
      await pruneJobs(world.ports, VAULT);
      await expectExact(world);
      expect(await listed(world.ports)).toEqual([]);
    }
  });
});

describe('the daily cleanup', () => {
  it('brings the index to a vault that is older than it, until when lists go through the jobs', async () => {
    const world = await createWorld();
    const { catalog } = world.ports;
    for (const operation of OPERATIONS) await end(world.ports, await begin(world.ports, operation));
    await begin(world.ports, 'Restore');
    const before = await listed(world.ports);
    // As an older version leaves it.
    for await (const { partition, key } of catalog.jobIndex.listAll()) await catalog.jobIndex.remove(partition, key);
    for await (const { partition, key, row } of catalog.openJobs.listAll())
      await catalog.openJobs.upsert(partition, key, { startedAt: row.startedAt });
    const at = vaultRowKey(VAULT);
    const { row } = (await catalog.vaults.get(at.partition, at.key))!;
    await catalog.vaults.upsert(at.partition, at.key, { ...row, jobsIndexed: undefined });
    expect(await listed(world.ports, {}, await isIndexed(world))).toEqual(before);
    await pruneJobs(world.ports, VAULT);
    expect(await isIndexed(world)).toBe(true);
    expect(await listed(world.ports)).toEqual(before);
    await expectExact(world);
  });

  it('mends what was lost on either side', async () => {
    const world = await createWorld();
    const { catalog } = world.ports;
    const ids: JobId[] = [];
    for (let i = 0; i < 4; i++) ids.push(await begin(world.ports));
    for (const id of ids.slice(0, 3)) await end(world.ports, id);
    await catalog.jobs.remove(VAULT, ids[0]!);
    for await (const { partition, key, row } of catalog.jobIndex.listAll())
      if (row.jobId === ids[1]) await catalog.jobIndex.remove(partition, key);
    await catalog.openJobs.remove(VAULT, ids[3]!);
    await pruneJobs(world.ports, VAULT);
    await expectExact(world);
    expect((await listed(world.ports)).sort()).toEqual(ids.slice(1).sort());
  });

  it('goes through the jobs once, and asks for each no more than it has to', async () => {
    const world = await createWorld();
    for (let i = 0; i < 20; i++) await end(world.ports, await begin(world.ports));
    const calls: string[] = [];
    await pruneJobs(
      gatedPorts(world.ports, { before: (call) => void calls.push(call), after: () => undefined }),
      VAULT,
    );
    expect(calls.filter((call) => call.startsWith('job'))).toEqual([
      'jobIndex.listColumns',
      'jobIndex.listColumns',
      'jobs.list',
    ]);
  });
});

it('a job is in progress to clients until it has ended', async () => {
  const { ports } = await createWorld();
  const row = make(ports, 'Backup', { status: 'Ending' });
  expect(isAsked(row, { kind: 'service', status: 'InProgress' })).toBe(true);
  expect(isAsked(row, { kind: 'service', status: 'Cancelling' })).toBe(false);
});
