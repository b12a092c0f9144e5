import { describe, expect, it } from 'vitest';
import type { Step } from '../../shared/queue/steps.ts';
import { type MemoryQueue, memoryQueue, type QueuedMessage } from '../support/memory-queue.ts';
import { workQueueContract } from './work-queue.contract.ts';

const FOREVER = new Date(8.64e15);

function queueAt(startMs: number): { queue: MemoryQueue; advance: (seconds: number) => void } {
  let nowMs = startMs;
  const queue = memoryQueue({ now: () => nowMs });
  return { queue, advance: (seconds) => (nowMs += seconds * 1_000) };
}

workQueueContract('in memory', async () => {
  const { queue, advance } = queueAt(0);
  return {
    queue,
    take: async (queueName) =>
      queue
        .due()
        .filter((message) => message.queue === queueName)
        .map(({ id }) => ({ text: (queue.take(id) as QueuedMessage).text, expiresAt: FOREVER })),
    wait: async (seconds) => advance(seconds),
  };
});

describe('the memory queue in the hands of a simulation', () => {
  const clean = (itemId: string): Step => ({ step: 'clean-item', v: 1, vault: 'v', itemId });

  it('shows what waits by due time, takes by choice, out of order', async () => {
    const { queue, advance } = queueAt(1_000);
    await queue.send(clean('late'), 60);
    await queue.send(clean('a'));
    await queue.send(clean('b'));
    expect(queue.waiting().map(({ step, dueMs }) => [step, dueMs])).toEqual([
      [clean('a'), 1_000],
      [clean('b'), 1_000],
      [clean('late'), 61_000],
    ]);
    const [, second] = queue.due();
    expect(queue.take(second?.id)).toMatchObject({ step: clean('b'), deliveries: 1 });
    expect(queue.take(second?.id)).toBeUndefined();
    expect(queue.take()?.step).toEqual(clean('a'));
    expect(queue.take()).toBeUndefined();
    expect(queue.take(queue.waiting()[0]?.id)).toBeUndefined();
    advance(60);
    expect(queue.take()?.step).toEqual(clean('late'));
  });

  it('delivers again what is put back, later if so asked, and counts', async () => {
    const { queue, advance } = queueAt(0);
    await queue.send(clean('a'));
    const first = queue.take() as QueuedMessage;
    queue.putBack(first, 600);
    expect(queue.due()).toEqual([]);
    advance(600);
    expect(queue.take()).toMatchObject({ step: clean('a'), deliveries: 2 });
    queue.putBack(first);
    queue.putBack(first);
    expect(queue.due()).toHaveLength(2);
  });
});
