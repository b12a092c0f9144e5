/**
 * `npm run bench:idle`: what a platform that has nothing to do asks of its storage, counted. Queue polls are reckoned with by the host's own
 * back-off and host.json; timers run on their schedules, over an hour of a clock that is moved, on in-memory ports that count; so
 * do the coordinator of a long transfer and a backup that waits behind it. See docs/performance.md.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSchedule } from '../local/host/ncrontab.ts';
import { pollingDelayMs } from '../local/host/queue-listener.ts';
import { readHostSettings } from '../local/host/settings.ts';
import { BLOCK_BYTES } from '../shared/domain/units.ts';
import { QUEUES } from '../shared/queue/steps.ts';
import { startBackup } from '../shared/services/backup.ts';
import { itemKey } from '../shared/services/keys.ts';
import type { Ports } from '../shared/services/ports.ts';
import { runStep } from '../shared/services/run-step.ts';
import { takeDue } from '../shared/services/take-due.ts';
import { watchJobs } from '../shared/services/watch.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../test/support/world.ts';
import { countedPorts } from './port-counts.ts';

const ROOT = join(import.meta.dirname, '..');
const HOUR_MS = 3_600_000;
const MONTH_HOURS = 730;
/** A queue's message costs a look that finds it, and its delete; the look is among the polls. */
const REQUESTS_OF_A_MESSAGE = 2;
/** Dollars for 10,000 requests: what a read of a hot blob costs. Operations of queues and tables cost as much or less. */
const PRICE = 0.0044;

const TIMERS: Readonly<Record<string, (ports: Ports) => Promise<unknown>>> = {
  'take-due-snapshots': takeDue,
  'watch-jobs': watchJobs,
};

/** Requests by kind. */
type Asked = Record<string, number>;

interface Line {
  readonly what: string;
  readonly asked: Asked;
}

/** How often one listener asks a queue that stays empty, in an hour that does not begin with a message. */
function pollsOf(maxPollingMs: number): number {
  let polls = 0;
  for (let ms = 0, misses = 30; ms < HOUR_MS; polls++) ms += pollingDelayMs(misses, maxPollingMs);
  return polls;
}

/** The timers of the app that are due within the hour, in order. */
async function dueTimers(fromMs: number): Promise<{ name: string; atMs: number }[]> {
  const due: { name: string; atMs: number }[] = [];
  for (const file of await readdir(join(ROOT, 'functions/timers'))) {
    const text = await readFile(join(ROOT, 'functions/timers', file), 'utf8');
    const { name, schedule } =
      /app\.timer\('(?<name>[^']+)', \{\s*schedule: '(?<schedule>[^']+)'/.exec(text)?.groups ?? {};
    if (name === undefined || schedule === undefined) throw new Error(`${file} registers no timer that can be read`);
    const times = parseSchedule(schedule);
    for (let atMs = times.next(fromMs); atMs !== undefined && atMs <= fromMs + HOUR_MS; atMs = times.next(atMs))
      due.push({ name, atMs });
  }
  return due.sort((a, b) => a.atMs - b.atMs);
}

interface Counting {
  readonly world: World;
  /** What `work` asks for, messages that it sends included. */
  readonly count: (work: () => Promise<unknown>) => Promise<Asked>;
}

async function counting(): Promise<Counting> {
  let take: ReturnType<typeof countedPorts>['take'] | undefined;
  const world = await createWorld({
    wrap(ports) {
      const counted = countedPorts(ports);
      ({ take } = counted);
      return counted.ports;
    },
  });
  return {
    world,
    async count(work) {
      take?.();
      await work();
      const { requests, messages } = take!();
      return messages === 0
        ? { ...requests }
        : { ...requests, 'queue messages': messages * (1 + REQUESTS_OF_A_MESSAGE) };
    },
  };
}

const sumOf = (asked: Asked): number => Object.values(asked).reduce((sum, own) => sum + own, 0);

function add(total: Asked, more: Asked): void {
  for (const [kind, times] of Object.entries(more)) total[kind] = (total[kind] ?? 0) + times;
}

/** The hour from noon, with nothing to do, of a vault with so many items of which each has a point. */
async function idleVault(items: number): Promise<Line> {
  const { world, count } = await counting();
  for (let i = 0; i < items; i++) {
    const [disk] = await world.createVm(`vm${i}`, [2 * BLOCK_BYTES]);
    await world.disks.write(disk!, 0, Buffer.alloc(BLOCK_BYTES, 1));
    await world.protect(`vm${i}`);
    await world.backup(`vm${i}`, world.clock.now() + 30 * DAY_MS);
  }
  await world.cleanUp();
  const day = Math.ceil(world.clock.now() / DAY_MS) * DAY_MS;
  world.clock.advance(day + 3 * HOUR_MS - world.clock.now());
  await takeDue(world.ports);
  await world.drain();
  world.clock.advance(day + 12 * HOUR_MS - world.clock.now());
  const asked: Asked = {};
  for (const { name, atMs } of await dueTimers(world.clock.now())) {
    const run = TIMERS[name];
    if (run === undefined) throw new Error(`${name} is due in an idle hour, and nobody counts what it asks for`);
    world.clock.advance(atMs - world.clock.now());
    add(asked, await count(() => run(world.ports)));
  }
  if (world.queue.waiting().length > 0) throw new Error('the hour was not idle');
  return { what: `timers, one vault with ${items} items`, asked };
}

/** The hour after the first of a first backup that goes on: its coordinator's looks, and what a backup that waits behind it costs. */
async function longTransfer(): Promise<Line[]> {
  const { world, count } = await counting();
  const { clock, ports, queue } = world;
  const [disk] = await world.createVm('vm', [1024 * BLOCK_BYTES]);
  for (let i = 0; i < 256; i++)
    await world.disks.write(disk!, i * 4 * BLOCK_BYTES, Buffer.alloc(4 * BLOCK_BYTES, 1 + (i % 200)));
  await world.protect('vm');
  await startBackup(ports, VAULT, itemKey('app', 'vm'), { kind: 'onDemand' });
  const units: (() => Promise<void>)[] = [];
  const looks: Asked = {};
  const waiting: Asked = {};
  const others: Asked = {};
  /** Handles what is due until then; units are kept back, and each look of the coordinator finds one more of them done. */
  const handle = async (untilMs: number): Promise<void> => {
    for (;;) {
      const [next] = queue.waiting();
      if (next === undefined || next.dueMs > untilMs) break;
      clock.advance(Math.max(0, next.dueMs - clock.now()));
      const { step } = queue.take(next.id)!;
      const run = (): Promise<void> => runStep(ports, step);
      if (step.step === 'transfer-unit') {
        units.push(run);
        continue;
      }
      if (step.step === 'commit') await units.shift()?.();
      add(step.step === 'commit' ? looks : waiting, await count(run));
    }
    clock.advance(Math.max(0, untilMs - clock.now()));
  };
  const start = clock.now();
  await handle(start + HOUR_MS);
  clock.advance(13.5 * HOUR_MS); // past the time at which the next one is due
  await handle(clock.now());
  await takeDue(ports);
  await handle(clock.now() + HOUR_MS);
  for (const asked of [looks, waiting]) for (const kind of Object.keys(asked)) delete asked[kind];
  const from = clock.now();
  for (const { name, atMs } of await dueTimers(from)) {
    await handle(atMs);
    add(name === 'watch-jobs' ? waiting : others, await count(async () => TIMERS[name]?.(ports)));
  }
  await handle(from + HOUR_MS);
  return [
    { what: 'coordinator of a transfer of 256 units', asked: looks },
    { what: 'watch over it, and a backup that waits behind it', asked: waiting },
  ];
}

async function main(): Promise<void> {
  const { queues } = readHostSettings(join(ROOT, 'host.json'), {});
  const listeners = 2 * QUEUES.length;
  const lines: Line[] = [
    {
      what: `worker: ${listeners} queues, asked every ${queues.maxPollingInterval / 1000} s`,
      asked: { 'queue polls': listeners * pollsOf(queues.maxPollingInterval) },
    },
    await idleVault(1),
    await idleVault(100),
    ...(await longTransfer()),
  ];
  console.log('| an hour of | requests | dollars a month | of which |\n| --- | --- | --- | --- |');
  for (const { what, asked } of lines) {
    const sum = sumOf(asked);
    const kinds = Object.entries(asked).map(([kind, times]) => `${times} ${kind}`);
    console.log(`| ${what} | ${sum} | ${((sum * MONTH_HOURS * PRICE) / 10_000).toFixed(3)} | ${kinds.join(', ')} |`);
  }
}

await main();
