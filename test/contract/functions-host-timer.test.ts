import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openClock } from '../../local/clock/clock.ts';
import { parseSchedule } from '../../local/host/ncrontab.ts';
import { openHostBench, type HostBench } from '../support/functions-host.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('timer triggers', () => {
  let bench: HostBench;
  beforeEach(async () => {
    bench = await openHostBench();
  });
  afterEach(() => bench.dispose());

  const runs = (fn?: string) => bench.events().filter((event) => fn === undefined || event.fn === fn);

  it('fire in order of their due times on an advance, each seeing its own time', async () => {
    const host = await bench.start();
    const clock = openClock(bench.clockFile);
    const startMs = clock.now();
    const fired = await host.advanceClock(startMs + 24 * HOUR);
    expect(fired).toBe(6 * 24 + 2 * 24);
    expect(runs()).toHaveLength(fired);
    expect(clock.now()).toBeGreaterThanOrEqual(startMs + 24 * HOUR);
    const times = runs().map(({ at = 0 }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    for (const { fn, at = 0, isPastDue } of runs()) {
      expect(isPastDue).toBe(false);
      const minute = new Date(at).getUTCMinutes();
      expect(fn === 'ten' ? [0, 10, 20, 30, 40, 50] : [5, 35]).toContain(minute);
    }
  });

  it('carry the schedule status', async () => {
    const host = await bench.start();
    await host.advanceClock(openClock(bench.clockFile).now() + 30 * MINUTE);
    const [first, second] = runs('ten');
    expect(first?.status?.last).toMatch(/^0001-01-01T00:00:00/);
    expect(second?.status?.last).toBe(first?.status?.next);
    expect(Date.parse(second?.status?.next ?? '')).toBe(Math.floor((second?.at ?? 0) / MINUTE) * MINUTE);
  });

  it('serialise advances that are asked for at once', async () => {
    const host = await bench.start();
    const now = openClock(bench.clockFile).now();
    const fired = await Promise.all([2, 4, 6].map((hours) => host.advanceClock(now + hours * HOUR)));
    expect(fired).toEqual([16, 16, 16]);
  });

  it('make up once for what was missed while no host ran', async () => {
    const first = await bench.start();
    await first.stop();
    openClock(bench.clockFile).advanceTo(Date.now() + 5 * HOUR);
    await bench.start();
    await vi.waitFor(() => expect(runs()).toHaveLength(2), { timeout: 5_000 });
    expect(runs().map(({ fn, isPastDue }) => ({ fn, isPastDue }))).toEqual(
      expect.arrayContaining([
        { fn: 'ten', isPastDue: true },
        { fn: 'thirty', isPastDue: true },
      ]),
    );
  });

  it('fire as the clock passes', async () => {
    const next = parseSchedule('0 */10 * * * *').next(Date.now()) ?? 0;
    openClock(bench.clockFile).advanceTo(next - 5_000);
    await bench.start();
    await vi.waitFor(() => expect(runs('ten')).toHaveLength(1), { timeout: 15_000 });
    expect(runs('ten')[0]?.at).toBeGreaterThanOrEqual(next);
    expect(runs('ten')[0]?.at).toBeLessThan(next + 2_000);
  });

  it('do not run in a worker', async () => {
    const worker = await bench.start({ role: 'worker' });
    await expect(worker.advanceClock(Date.now() + HOUR)).rejects.toThrow('a worker does not move the clock');
    expect(runs()).toHaveLength(0);
  });
});

describe('NCRONTAB', () => {
  const after = Date.parse('2026-11-22T10:00:00Z');
  it.each([
    ['0 */10 * * * *', '2026-11-22T10:10:00.000Z'],
    ['*/10 * * * *', '2026-11-22T10:10:00.000Z'],
    ['30 0 3 * * *', '2026-11-23T03:00:30.000Z'],
    ['0 30 9 * * Mon-Fri', '2026-11-23T09:30:00.000Z'],
    ['0 0 0 1 Jan *', '2027-01-01T00:00:00.000Z'],
    ['0 0 12 13 * 5', '2027-08-13T12:00:00.000Z'],
    ['0 0 0 29 2 *', '2028-02-29T00:00:00.000Z'],
    ['0 0 8-18/4 * * *', '2026-11-22T12:00:00.000Z'],
    ['02:30:00', '2026-11-22T12:30:00.000Z'],
  ])('%s is next due at %s', (expression, due) => {
    expect(new Date(parseSchedule(expression).next(after) ?? 0).toISOString()).toBe(due);
  });

  it.each([
    '* * * *',
    '@daily',
    '0 0 0 L * *',
    '0 60 * * * *',
    '0 0 0 * * 7',
    '0 0 0 ? * *',
    '0 */0 * * * *',
    '0 0 5-3 * * *',
    '0 0 0 31 2 *',
    '00:00:00',
  ])('"%s" is refused with the field that is wrong', (expression) => {
    expect(() => parseSchedule(expression)).toThrow(/the schedule ".*" has/);
  });
});

describe('the clock file', () => {
  it('goes forward only and is refused when damaged', async () => {
    const bench = await openHostBench();
    try {
      const clock = openClock(bench.clockFile);
      clock.advanceTo(Date.now() + HOUR);
      const content = readFileSync(bench.clockFile, 'utf8');
      clock.advanceTo(Date.now());
      expect(readFileSync(bench.clockFile, 'utf8')).toBe(content);
      const damaged = join(bench.dir, 'damaged.json');
      writeFileSync(damaged, '{"offsetMs":"1"}');
      expect(() => openClock(damaged).now()).toThrow(/must be \{"offsetMs"/);
    } finally {
      await bench.dispose();
    }
  });
});
