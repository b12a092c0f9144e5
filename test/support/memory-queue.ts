import type { Clock } from '../../shared/domain/clock.ts';
import { checkDelay, messageText, stepFromText } from '../../shared/queue/message-text.ts';
import { QUEUE_OF, type Step } from '../../shared/queue/steps.ts';
import type { WorkQueue } from '../../shared/queue/work-queue.ts';

/** A message as the simulation sees it. */
export interface QueuedMessage {
  /** Ascends in the order of sending. */
  readonly id: number;
  readonly queue: string;
  readonly step: Step;
  /** As on the wire: base64 of the step's JSON. */
  readonly text: string;
  /** When it can be seen, by the clock. */
  readonly dueMs: number;
  /** How often it has been taken. */
  readonly deliveries: number;
}

/** The work queue of a simulation: messages wait until the simulation takes them, in whatever order it likes. */
export interface MemoryQueue extends WorkQueue {
  /** All messages that nobody has taken, by due time and order of sending; also those not due yet. */
  waiting(): readonly QueuedMessage[];
  /** Those that are due by the clock, in the same order. */
  due(): readonly QueuedMessage[];
  /** Takes a due message off the queue: the first, or the one with this id, out of order. Undefined when there is none such. */
  take(id?: number): QueuedMessage | undefined;
  /** Puts a taken message back, as the service does when a handler dies. Also for a message whose handler did finish: a duplicate. */
  putBack(message: QueuedMessage, delaySeconds?: number): void;
}

/** A work queue in memory, with `clock` as its time. Steps go through their text, so that no sender can reach into a sent message. */
export function memoryQueue(clock: Clock): MemoryQueue {
  const kept = new Map<number, QueuedMessage>();
  let sent = 0;

  const inOrder = (): QueuedMessage[] => [...kept.values()].sort((a, b) => a.dueMs - b.dueMs || a.id - b.id);
  const due = (): QueuedMessage[] => inOrder().filter(({ dueMs }) => dueMs <= clock.now());
  const keep = (queue: string, text: string, delaySeconds: number, deliveries: number): void => {
    sent += 1;
    const step = Object.freeze(stepFromText(text));
    kept.set(sent, { id: sent, queue, step, text, dueMs: clock.now() + delaySeconds * 1_000, deliveries });
  };

  return {
    async send(step, delaySeconds = 0) {
      checkDelay(delaySeconds);
      keep(QUEUE_OF[step.step], messageText(step), delaySeconds, 0);
    },
    waiting: inOrder,
    due,
    take(id) {
      const message = due().find((entry) => id === undefined || entry.id === id);
      if (message === undefined) return undefined;
      kept.delete(message.id);
      return { ...message, deliveries: message.deliveries + 1 };
    },
    putBack(message, delaySeconds = 0) {
      keep(message.queue, message.text, delaySeconds, message.deliveries);
    },
  };
}
