import { setTimeout as delay } from 'node:timers/promises';
import type { DequeuedMessageItem, QueueClient } from '@azure/storage-queue';
import type { QueueFunction } from './bindings.ts';
import { HostStoppedError, type Invoker } from './invoke.ts';
import type { HostLog } from './log.ts';
import { decodeMessage } from './queue-text.ts';
import type { RpcInvocationResponse, RpcTypedData } from './rpc.ts';
import type { QueueSettings } from './settings.ts';

/** A message in work is invisible to others this long, renewed at half of it (QueueListener in the storage extension). */
const LEASE_SECONDS = 600;
const MIN_POLLING_MS = 100;
const STOP_POLLING_MS = 3_000;

export interface QueueListener {
  readonly queueName: string;
  /** Resolves when the queue has been read for the first time, or could not be. */
  readonly started: Promise<void>;
  /** Ends the wait between two polls: a message is known to have come. */
  wake(): void;
  /** Stops taking messages; what runs goes on. Resolves once no more message can be taken. */
  stop(): Promise<void>;
  /** Resolves when the messages in work have been settled (deleted, released or poisoned). */
  settled(): Promise<void>;
}

/**
 * Feeds a queue's messages to a function, as the storage extension's QueueListener does: takes `batchSize` at once, again as soon
 * as at most `newBatchThreshold` are in work; polls an empty queue after a random, growing delay of 100 ms to
 * `maxPollingInterval`; deletes after success; after a failure shows the message again after `visibilityTimeout`, or moves it to
 * `<queue>-poison` once it was taken `maxDequeueCount` times. A text that does not fit the encoding is moved at once.
 *
 * A queue whose own name ends in `-poison` (or is too long for the suffix) has no poison queue: a message that fails stays
 * invisible until its lease is over, and is left alone once it was taken more than `maxDequeueCount` times.
 *
 * Queues are made when they are absent.
 */
export function listenToQueue(options: {
  fn: QueueFunction;
  settings: QueueSettings;
  queueClient: (connectionString: string, queueName: string) => QueueClient;
  invoker: Invoker;
  log: HostLog;
  sendOutputs: (fn: QueueFunction, response: RpcInvocationResponse) => Promise<void>;
  /** Hears of each queue that this listener sends a message to. */
  onEnqueued: (queueName: string) => void;
}): QueueListener {
  const { fn, settings, queueClient, invoker, sendOutputs, onEnqueued } = options;
  const queue = queueClient(fn.connectionString, fn.queueName);
  const poison = hasPoisonQueue(fn.queueName) ? queueClient(fn.connectionString, `${fn.queueName}-poison`) : undefined;
  const inWork = new Set<Promise<void>>();
  const stopping = new AbortController();
  const { signal } = stopping;
  const givingUp = new AbortController();
  let waiting = new AbortController();
  const log = (level: 'debug' | 'warning' | 'error', message: string) =>
    options.log.write(level, 'Host.Triggers.Queues', fn.functionName, message);

  const moveToPoison = async (message: DequeuedMessageItem, popReceipt: string, why: string): Promise<void> => {
    if (poison === undefined)
      return log('warning', `message ${message.messageId} stays in ${queue.name}, unworked: ${why}`);
    await poison.createIfNotExists();
    await poison.sendMessage(message.messageText);
    await queue.deleteMessage(message.messageId, popReceipt);
    onEnqueued(poison.name);
    log('warning', `message ${message.messageId} is moved to ${poison.name}: ${why}`);
  };

  const release = (message: DequeuedMessageItem, popReceipt: string, visibleInSeconds: number) =>
    queue.updateMessage(message.messageId, popReceipt, undefined, visibleInSeconds);

  const process = async (message: DequeuedMessageItem): Promise<void> => {
    const text = decodeMessage(message.messageText, settings.messageEncoding);
    if (text === undefined)
      return moveToPoison(
        message,
        message.popReceipt,
        `its text is not ${settings.messageEncoding}, host.json's messageEncoding`,
      );
    if (message.dequeueCount > settings.maxDequeueCount)
      return moveToPoison(message, message.popReceipt, `it was taken ${message.dequeueCount} times`);
    const lease = keepLease(queue, message, (error) =>
      log('warning', `lease of ${message.messageId}: ${errorText(error)}`),
    );
    let isDone = false;
    let isHostStopping = false;
    try {
      const response = await invoker.invoke(
        fn.fn,
        { name: fn.bindingName, data: { string: text } },
        metadataOf(message, text),
      );
      await sendOutputs(fn, response);
      isDone = true;
    } catch (error) {
      // The invoker has logged the failure; what is left is to hand the message on.
      isHostStopping = error instanceof HostStoppedError;
    }
    const popReceipt = await lease.end();
    if (isDone) await queue.deleteMessage(message.messageId, popReceipt);
    else if (isHostStopping) await release(message, popReceipt, 0);
    else if (poison === undefined)
      log(
        'warning',
        `message ${message.messageId} comes again in at most ${LEASE_SECONDS} s: ${queue.name} has no poison queue`,
      );
    else if (message.dequeueCount >= settings.maxDequeueCount)
      await moveToPoison(message, popReceipt, `it failed ${message.dequeueCount} times`);
    else await release(message, popReceipt, Math.round(settings.visibilityTimeout / 1000));
  };

  const start = (message: DequeuedMessageItem): void => {
    const work = process(message)
      .catch((error: unknown) => log('warning', `message ${message.messageId} comes again: ${errorText(error)}`))
      .finally(() => inWork.delete(work));
    inWork.add(work);
  };

  const started = Promise.withResolvers<void>();
  const poll = async (): Promise<void> => {
    let misses = 0;
    let isCreated = false;
    let isFailing = false;
    while (!signal.aborted) {
      let count = 0;
      try {
        if (!isCreated) await queue.createIfNotExists({ abortSignal: givingUp.signal });
        isCreated = true;
        const { receivedMessageItems } = await queue.receiveMessages({
          numberOfMessages: settings.batchSize,
          visibilityTimeout: LEASE_SECONDS,
          abortSignal: givingUp.signal,
        });
        count = receivedMessageItems.length;
        if (signal.aborted)
          await Promise.all(receivedMessageItems.map((message) => release(message, message.popReceipt, 0)));
        else receivedMessageItems.forEach(start);
        isFailing = false;
      } catch (error) {
        isCreated = false;
        if (!signal.aborted && !isFailing) log('warning', `queue ${queue.name} cannot be read: ${errorText(error)}`);
        isFailing = true;
      }
      started.resolve();
      if (count > 0) {
        misses = 0;
        while (inWork.size > settings.newBatchThreshold && !signal.aborted)
          await Promise.race([...inWork, aborted(signal)]);
        continue;
      }
      misses++;
      waiting = new AbortController();
      const until = AbortSignal.any([signal, waiting.signal]);
      await delay(pollingDelayMs(misses, settings.maxPollingInterval), undefined, { signal: until }).catch(
        () => undefined,
      );
    }
  };

  const polling = poll();
  return {
    queueName: fn.queueName,
    started: started.promise,
    wake: () => waiting.abort(),
    async stop() {
      stopping.abort();
      // A request that is cut off may have taken messages, which nobody would see until their lease is over; so it gets time,
      // but less than the SDK spends on a storage that is gone.
      const timer = setTimeout(() => givingUp.abort(), STOP_POLLING_MS);
      await polling;
      clearTimeout(timer);
    },
    async settled() {
      await Promise.all(inWork);
    },
  };
}

function hasPoisonQueue(queueName: string): boolean {
  return !queueName.endsWith('-poison') && queueName.length + '-poison'.length <= 63;
}

/** RandomizedExponentialBackoffStrategy of the WebJobs SDK: the growing part doubles each time, 20 % up or down. */
export function pollingDelayMs(misses: number, maxMs: number): number {
  return Math.min(maxMs, MIN_POLLING_MS + MIN_POLLING_MS * (0.8 + Math.random() * 0.4) * 2 ** (misses - 1));
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}

/** Renews a message's invisibility at half its time; `end` stops that and resolves the receipt that is valid then. */
function keepLease(queue: QueueClient, message: DequeuedMessageItem, onError: (error: unknown) => void) {
  let popReceipt = message.popReceipt;
  let renewal = Promise.resolve();
  const timer = setInterval(
    () => {
      renewal = queue
        .updateMessage(message.messageId, popReceipt, undefined, LEASE_SECONDS)
        .then((updated) => void (popReceipt = updated.popReceipt ?? popReceipt), onError);
    },
    (LEASE_SECONDS / 2) * 1000,
  );
  return {
    async end(): Promise<string> {
      clearInterval(timer);
      await renewal;
      return popReceipt;
    },
  };
}

/** The names are the storage extension's; `@azure/functions` makes them camelCase in `context.triggerMetadata`. */
function metadataOf(message: DequeuedMessageItem, text: string): Record<string, RpcTypedData> {
  const json = (value: unknown): RpcTypedData => ({ json: JSON.stringify(value) });
  return {
    QueueTrigger: { string: text },
    Id: { string: message.messageId },
    PopReceipt: { string: message.popReceipt },
    DequeueCount: json(message.dequeueCount),
    InsertionTime: json(message.insertedOn),
    ExpirationTime: json(message.expiresOn),
    NextVisibleTime: json(message.nextVisibleOn),
  };
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message.split('\n', 1)[0] || error.name : String(error);
}
