import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import { kindOfCall, subscriptionOfCall } from '../../shared/azure/compute-calls.ts';
import type { DiskSnapshots } from '../../shared/disk/disk-snapshots.ts';
import { pacedSnapshots } from '../../shared/disk/paced-snapshots.ts';
import { SourcePace } from '../../shared/disk/source-pace.ts';
import type { SourceRates } from '../../shared/domain/source-rates.ts';
import { memoryDisks } from '../support/memory-disks.ts';

const MIB = 1024 * 1024;
const STANDARD: SourceRates = { requestsPerSecond: 500, bytesPerSecond: 60 * MIB };
const A = 'https://one.blob.core.windows.net/vhds/a.vhd';
const B = 'https://one.blob.core.windows.net/vhds/b.vhd';
const SMALL = { requests: 1, bytes: 16_384 };

/** Time that passes when everybody waits for it: what was to happen first does, then the next. */
class Time {
  nowMs = 0;
  #timers: { atMs: number; order: number; call: () => void }[] = [];
  #order = 0;
  readonly after = (ms: number, call: () => void): void => {
    this.#timers.push({ atMs: this.nowMs + ms, order: this.#order++, call });
    this.#timers.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
  };
  readonly sleep = (ms: number): Promise<void> => new Promise((then) => this.after(ms, then));
  /** Until nothing is left to happen. */
  async run(): Promise<void> {
    for (;;) {
      await new Promise<void>((then) => setImmediate(then)); // whatever can go on without time has gone on
      const next = this.#timers.shift();
      if (next === undefined) return;
      this.nowMs = next.atMs;
      next.call();
    }
  }
}

function start(rates: SourceRates | 'unknown' = STANDARD, accountRates?: SourceRates) {
  const time = new Time();
  const pace = new SourcePace({
    ratesOf: () => (rates === 'unknown' ? undefined : rates),
    accountRates,
    accountOf: (url) => url.slice(0, url.indexOf('.')),
    now: () => time.nowMs,
    after: time.after,
  });
  return { time, pace };
}

/** A disk that answers so many requests at once in 5 ms each, and refuses the others at once: 503, tried again as an SDK does. */
function busyDisk(time: Time, pace: SourcePace, url: string, bears: number) {
  const seen = { running: 0, most: 0, asked: 0, refused: 0, given: 0 };
  const ask = async (): Promise<void> => {
    for (;;) {
      await pace.ready(url);
      seen.asked++;
      seen.most = Math.max(seen.most, seen.running + 1);
      if (seen.running < bears) break;
      seen.refused++;
      pace.answered(url, 503, undefined);
    }
    seen.running++;
    await time.sleep(5);
    seen.running--;
    pace.answered(url, 206, undefined);
    seen.given++;
  };
  return { seen, ask };
}

describe('the pace of a source', () => {
  it.each([
    ['requests', 1000, SMALL, 2000],
    ['bytes', 60, { requests: 1, bytes: 8 * MIB }, 8000],
  ])('holds a disk to its %s', async (_, count, request, ms) => {
    const { time, pace } = start();
    const work = Array.from({ length: count }, () => pace.run(A, request, () => time.sleep(1)));
    await time.run();
    await Promise.all(work);
    expect(time.nowMs).toBeGreaterThan(ms * 0.9);
    expect(time.nowMs).toBeLessThan(ms * 1.1);
  });

  it('holds an account to its own, and lets each disk have its turn', async () => {
    const { time, pace } = start('unknown', { requestsPerSecond: 1000, bytesPerSecond: 1e12 });
    const ended: string[] = [];
    const ask = (url: string) => pace.run(url, SMALL, () => time.sleep(1)).then(() => ended.push(url));
    const many = Array.from({ length: 2000 }, () => ask(A));
    const few = Array.from({ length: 100 }, () => ask(B));
    await time.run();
    await Promise.all([...many, ...few]);
    expect(time.nowMs).toBeGreaterThan(1900);
    // The many were there first, and those that had begun by then are before it; from then on it is one and one.
    expect(ended.lastIndexOf(B)).toBeLessThan(400);
  });

  it('lets nothing wait without rates, until the storage refuses', async () => {
    const { time, pace } = start('unknown');
    const work = Array.from({ length: 1000 }, () => pace.run(A, SMALL, () => time.sleep(1)));
    await time.run();
    await Promise.all(work);
    expect(time.nowMs).toBeLessThan(20);
  });

  it('stops for as long as the answer says', async () => {
    const { time, pace } = start();
    pace.answered(A, 429, 7_000);
    let beganMs = 0;
    const work = pace.run(A, SMALL, async () => void (beganMs = time.nowMs));
    const other = pace.run(B, SMALL, async () => {
      expect(time.nowMs).toBeLessThan(100);
    });
    await time.run();
    await Promise.all([work, other]);
    expect(beganMs).toBe(7_000);
  });

  it('backs off from a disk that refuses, asks it for little more than it gives, and recovers', async () => {
    const { time, pace } = start('unknown');
    const disk = busyDisk(time, pace, A, 4);
    const work = Array.from({ length: 5000 }, () => pace.run(A, SMALL, disk.ask));
    await time.run();
    await Promise.all(work);
    expect(disk.seen.given).toBe(5000);
    expect(disk.seen.refused / disk.seen.given).toBeLessThan(0.1);
    // Then it bears more, and is asked for more.
    const { pace: fresh, time: later } = start('unknown');
    for (let i = 0; i < 12; i++) {
      fresh.answered(A, 503, 0);
      later.nowMs += 1_001;
    }
    const calm = busyDisk(later, fresh, A, Infinity);
    const more = Array.from({ length: 5000 }, () => fresh.run(A, SMALL, calm.ask));
    await later.run();
    await Promise.all(more);
    expect(calm.seen.most).toBeGreaterThan(8);
  });

  it('learns rates down from refusals, and takes them up again with time', async () => {
    const { time, pace } = start();
    const take = async (): Promise<number> => {
      const fromMs = time.nowMs;
      const work = Array.from({ length: 200 }, () => pace.run(A, SMALL, () => time.sleep(1)));
      await time.run();
      await Promise.all(work);
      return time.nowMs - fromMs;
    };
    const before = await take();
    pace.answered(A, 503, 0);
    expect(await take()).toBeGreaterThan(1.5 * before);
    time.nowMs += 60_000;
    expect(await take()).toBeLessThan(1.2 * before);
  });

  it('takes several refusals of what was under way for one', async () => {
    const { time, pace } = start();
    for (let i = 0; i < 20; i++) pace.answered(A, 503, 0);
    const work = Array.from({ length: 100 }, () => pace.run(A, SMALL, () => time.sleep(1)));
    await time.run();
    await Promise.all(work);
    expect(time.nowMs).toBeLessThan(1_000); // half of 500 a second, not a millionth
  });

  it('slows an account down where more than one of its disks refuse', async () => {
    const { time, pace } = start('unknown', { requestsPerSecond: 1000, bytesPerSecond: 1e12 });
    pace.answered(A, 503, 0);
    pace.answered(B, 503, 0);
    const C = A.replace('a.vhd', 'c.vhd');
    const work = Array.from({ length: 400 }, () => pace.run(C, SMALL, () => time.sleep(1)));
    await time.run();
    await Promise.all(work);
    expect(time.nowMs).toBeGreaterThan(600);
  });

  it('lets disks that share no account refuse for themselves', async () => {
    const time = new Time();
    const pace = new SourcePace({
      ratesOf: () => undefined,
      accountRates: { requestsPerSecond: 1, bytesPerSecond: 1 },
      accountOf: () => undefined,
      now: () => time.nowMs,
      after: time.after,
    });
    for (const disk of ['a', 'b', 'c']) pace.answered(`/disks/${disk}`, 503, 60_000);
    const ended: number[] = [];
    const ask = (disk: string) => pace.run(disk, SMALL, () => time.sleep(1)).then(() => ended.push(time.nowMs));
    const work = [...Array.from({ length: 50 }, () => ask('/disks/d')), ask('/disks/a')];
    await time.run();
    await Promise.all(work);
    expect(ended.slice(0, 50).every((ms) => ms === 1)).toBe(true);
    expect(ended.at(-1)).toBeGreaterThanOrEqual(30_000);
  });

  it('waits for no longer than it is told to, and lets others have the turn', async () => {
    const { time, pace } = start();
    pace.answered(A, 429, 10_000);
    const ended = new AbortController();
    let ran = 0;
    const work = [1, 2].map(() => pace.run(A, SMALL, async () => void ran++, ended.signal));
    const refused = Promise.all(work.map((each) => expect(each).rejects.toMatchObject({ name: 'AbortError' })));
    const other = pace.run(A, SMALL, async () => void ran++);
    time.after(5_000, () => ended.abort());
    await time.run();
    await Promise.all([refused, other]);
    expect(ran).toBe(1);
    await expect(pace.run(A, SMALL, async () => void ran++, ended.signal)).rejects.toMatchObject({
      name: 'AbortError',
    });
    await pace.run(A, SMALL, async () => void ran++);
    expect(ran).toBe(2);
  });

  it('goes on after work that fails', async () => {
    const { time, pace } = start({ requestsPerSecond: 1e6, bytesPerSecond: 1e12 });
    const work = Array.from({ length: 50 }, (_, i) =>
      pace.run(A, SMALL, async () => {
        await time.sleep(1);
        if (i % 2 === 0) throw new Error('no');
      }),
    );
    const settled = Promise.allSettled(work);
    await time.run();
    expect((await settled).filter(({ status }) => status === 'rejected')).toHaveLength(25);
  });
});

describe('the pace of calls to Compute', () => {
  const SUBSCRIPTION = '/subscriptions/s';
  const url = (path: string): string =>
    `https://management.azure.com/subscriptions/S/resourceGroups/g/providers/Microsoft.Compute/${path}?api-version=1`;
  const kinds = {
    get: kindOfCall('GET', url('snapshots/one')),
    open: kindOfCall('POST', url('snapshots/two/beginGetAccess')),
    vm: kindOfCall('GET', url('virtualMachines/vm')),
  };

  it('goes by the kinds that Azure counts', () => {
    expect(Object.values(kinds).map((kind) => kind.slice(SUBSCRIPTION.length))).toEqual([
      ' GET snapshots/*',
      ' POST snapshots/*/begingetaccess',
      ' GET virtualmachines/*',
    ]);
    expect(kindOfCall('GET', 'https://x/subscriptions/S/providers/Microsoft.Compute/snapshots')).toBe(
      '/subscriptions/s GET snapshots',
    );
    expect(kindOfCall('GET', 'https://x/subscriptions/S/resourceGroups?x')).toBe('/subscriptions/s GET others');
    for (const kind of Object.values(kinds)) expect(subscriptionOfCall(kind)).toBe(SUBSCRIPTION);
  });

  it('holds back calls of a kind that was refused for as long as Compute says, and no others', async () => {
    const time = new Time();
    const pace = new SourcePace({
      ratesOf: () => undefined,
      accountRates: undefined,
      accountOf: subscriptionOfCall,
      mostPauseMs: 600_000,
      now: () => time.nowMs,
      after: time.after,
    });
    pace.answered(kinds.open, 429, 200_000);
    const ended: [string, number][] = [];
    const call = (kind: string) => pace.run(kind, SMALL, async () => void ended.push([kind, time.nowMs]));
    const work = [call(kinds.open), call(kinds.get), call(kinds.vm)];
    await time.run();
    await Promise.all(work);
    expect(ended).toEqual([
      [kinds.get, 0],
      [kinds.vm, 0],
      [kinds.open, 200_000],
    ]);
    // Several kinds at once: it is the subscription.
    pace.answered(kinds.get, 429, 60_000);
    pace.answered(kinds.open, 429, 60_000);
    const late = call(kinds.vm);
    await time.run();
    await late;
    expect(ended.at(-1)).toEqual([kinds.vm, 260_000]);
  });
});

describe('paced snapshots', () => {
  it('read, list and compare as those below, and try a 429 again', async () => {
    const { time, pace } = start();
    const disks = memoryDisks({ clock: { now: () => 1_700_000_000_000 } });
    await disks.create(A, 1 * MIB);
    await disks.write(A, 0, Buffer.alloc(512, 1));
    const first = await disks.snapshots.take(A, {});
    await disks.write(A, 4096, Buffer.alloc(512, 2));
    const second = await disks.snapshots.take(A, {});
    let refusals = 2;
    const below: DiskSnapshots = {
      ...disks.snapshots,
      async read(snapshot, range) {
        if (refusals-- <= 0) return disks.snapshots.read(snapshot, range);
        pace.answered(A, 429, 1_000);
        const cause = Object.assign(new Error('slow down'), { statusCode: 429, code: 'TooManyRequests' });
        throw new BackupError('StorageUnavailable', 'no', { cause });
      },
    };
    const paced = pacedSnapshots(below, pace);
    const window = { start: 0, end: 1 * MIB };
    const work = Promise.all([
      paced.read(second, { start: 4096, end: 4608 }),
      Array.fromAsync(paced.allocated(second, window)),
      Array.fromAsync(paced.changed(second, first, window)),
    ]);
    await time.run();
    expect(await work).toEqual([
      new Uint8Array(512).fill(2),
      [
        { start: 0, end: 512 },
        { start: 4096, end: 4608 },
      ],
      [{ kind: 'data', start: 4096, end: 4608 }],
    ]);
    expect(time.nowMs).toBeGreaterThanOrEqual(1_000);
  });
});
