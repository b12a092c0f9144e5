import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { HostChild } from '../../local/platform/host-child.ts';
import { base64, openHostBench, type HostBench } from '../support/functions-host.ts';

let bench: HostBench;
let host: HostChild;

beforeAll(async () => {
  bench = await openHostBench();
  host = await bench.start();
});
afterAll(() => bench.dispose());

const eventsOf = (fn: string, name: string) =>
  bench.events().filter((event) => event.fn === fn && event.entry?.['name'] === name);
const until = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 15_000, interval: 50 });
const countOf = async (queue: string): Promise<number> =>
  (await bench.queue(queue).getProperties()).approximateMessagesCount ?? 0;

describe('queue triggers', () => {
  it('decode Base64 JSON, give the metadata, and delete the message', async () => {
    await bench.queue('work').sendMessage(base64({ name: 'plain' }), { messageTimeToLive: -1 });
    await until(() => expect(eventsOf('work-done', 'plain')).toHaveLength(1));
    const [event] = eventsOf('work', 'plain');
    expect(event).toMatchObject({ dequeueCount: 1, hasIds: true });
    expect(Date.parse(event?.insertionTime ?? '')).toBeGreaterThan(Date.now() - 60_000);
    await until(async () => expect(await countOf('work')).toBe(0));
  });

  it('show a failed message again after visibilityTimeout', async () => {
    await bench.queue('work').sendMessage(base64({ name: 'flaky', failTimes: 1 }));
    await until(() => expect(eventsOf('work-done', 'flaky')).toHaveLength(1));
    expect(eventsOf('work', 'flaky').map(({ dequeueCount }) => dequeueCount)).toEqual([1, 2]);
  });

  it('move a message to the poison queue after maxDequeueCount failures', async () => {
    const text = base64({ name: 'hopeless', failTimes: 99 });
    await bench.queue('work').sendMessage(text);
    const poison = bench.queue('work-poison');
    await until(async () => expect(await poison.exists()).toBe(true));
    await until(async () =>
      expect((await poison.peekMessages()).peekedMessageItems.map(({ messageText }) => messageText)).toEqual([text]),
    );
    expect(eventsOf('work', 'hopeless').map(({ dequeueCount }) => dequeueCount)).toEqual([1, 2]);
    await poison.clearMessages();
  });

  it('hand poison messages to a function of their queue, which has no poison queue itself', async () => {
    await bench.queue('relay').sendMessage(base64({ name: 'fine', refuse: true }));
    await bench.queue('relay').sendMessage(base64({ name: 'hard', refuse: true, failGivenUp: true }));
    await until(() => expect(eventsOf('given-up', 'fine')).toHaveLength(1));
    await until(() => expect(eventsOf('given-up', 'hard')).toHaveLength(1));
    // The one that failed is kept, invisible until its lease is over.
    await until(async () => expect(await countOf('relay-poison')).toBe(1));
    expect((await bench.queue('relay-poison').peekMessages()).peekedMessageItems).toHaveLength(0);
    expect(await bench.queue('relay-poison-poison').exists()).toBe(false);
  });

  it('move a text that is not Base64 to the poison queue unseen', async () => {
    const before = bench.events().length;
    await bench.queue('work').sendMessage('{"name":"raw"}');
    const poison = bench.queue('work-poison');
    await poison.createIfNotExists();
    await until(async () => expect(await countOf('work-poison')).toBe(1));
    expect(bench.events()).toHaveLength(before);
    await poison.clearMessages();
  });

  it('send what a function returns to its output queue, one message per element', async () => {
    await bench.queue('relay').sendMessage(base64({ name: 'first' }));
    const relayed = () => bench.events().filter(({ fn, entry }) => fn === 'work' && entry?.['relayed'] !== undefined);
    await until(() => expect(relayed().map(({ entry }) => entry?.['relayed'])).toHaveLength(2));
    expect(relayed().map(({ entry }) => entry?.['relayed'])).toContainEqual({ name: 'first' });
  });

  it('work on at most batchSize + newBatchThreshold messages at once', async () => {
    const names = Array.from({ length: 12 }, (_, at) => `many-${at}`);
    for (const name of names) await bench.queue('work').sendMessage(base64({ name, sleepMs: 300 }));
    await until(() => expect(names.flatMap((name) => eventsOf('work-done', name))).toHaveLength(12));
    let running = 0;
    let most = 0;
    for (const { fn, entry } of bench.events()) {
      if (!String(entry?.['name']).startsWith('many-')) continue;
      running += fn === 'work' ? 1 : -1;
      most = Math.max(most, running);
    }
    expect(most).toBeGreaterThanOrEqual(2);
    expect(most).toBeLessThanOrEqual(6);
  });

  it('are shared by several hosts, each message handled once', async () => {
    const worker = await bench.start({ role: 'worker' });
    expect(worker.port).toBeUndefined();
    const names = Array.from({ length: 16 }, (_, at) => `shared-${at}`);
    await Promise.all(names.map((name) => bench.queue('work').sendMessage(base64({ name, sleepMs: 200 }))));
    await until(() => expect(names.flatMap((name) => eventsOf('work-done', name))).toHaveLength(16));
    const pids = new Set(names.flatMap((name) => eventsOf('work', name)).map(({ pid }) => pid));
    expect(pids).toEqual(new Set([host.pid, worker.pid]));
    expect(names.flatMap((name) => eventsOf('work', name))).toHaveLength(16);
    await worker.stop();
    expect(await worker.ended).toEqual({ code: 0, signal: null });
  });

  it('let a running function end before the host stops', async () => {
    const other = await bench.start({ role: 'worker' }, { WORK_QUEUE: 'slow-work' });
    await bench.queue('slow-work').sendMessage(base64({ name: 'slow', sleepMs: 1_500 }));
    await until(() => expect(eventsOf('work', 'slow')).toHaveLength(1));
    await other.stop();
    expect(await other.ended).toEqual({ code: 0, signal: null });
    expect(eventsOf('work-done', 'slow')).toHaveLength(1);
    expect(await countOf('slow-work')).toBe(0);
  });

  it('hand a message back when its function outlives functionTimeout, and end the host', async () => {
    const env = { WORK_QUEUE: 'endless-work', AzureFunctionsJobHost__functionTimeout: '00:00:01' };
    const other = await bench.start({ role: 'worker' }, env);
    await bench.queue('endless-work').sendMessage(base64({ name: 'endless', sleepMs: 60_000 }));
    expect(await other.ended).toEqual({ code: 75, signal: null });
    const { receivedMessageItems } = await vi.waitFor(
      async () => {
        const received = await bench.queue('endless-work').receiveMessages();
        expect(received.receivedMessageItems).toHaveLength(1);
        return received;
      },
      { timeout: 5_000, interval: 200 },
    );
    expect(receivedMessageItems[0]?.dequeueCount).toBe(2);
  });
});
