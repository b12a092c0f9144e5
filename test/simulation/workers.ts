import { isBackupError } from '../../shared/domain/errors.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import type { Scene } from './scene.ts';
import type { Task } from './scheduler.ts';

/** How many handlers of messages run at once, but for duplicates. */
const WORKERS = 2;
/** As in host.json: after so many deliveries a message is given up. */
const MOST_DELIVERIES = 5;
/** A worker's clock is off by at most this much, one way or the other. */
const MOST_SKEW_MS = 20_000;
/** How often the watch looks while everything comes to its end: seldom, so that it wakes nothing that goes on by itself. */
const LOOK_MS = 60 * 60_000;

/** What a request may be answered at any time: the simulation asks without looking first. */
const REFUSALS = [
  'BMSUserErrorObjectLocked',
  'UserErrorProtectionStopped',
  'ItemSoftDeleted',
  'ItemNotSoftDeleted',
  'UserErrorRecoveryPointLeaving',
  'UserErrorInstantRpNotFound',
  'UserErrorInvalidRestoreRequest',
  'UserErrorJobNotCancellable',
  'ResourceNotFound',
  'StorageUnavailable',
] as const;

interface Running {
  readonly task: Task;
  /** Absent for requests and timers. */
  readonly message: QueuedMessage | undefined;
}

/** Requests, timers and the handlers of messages, as processes that can be killed or fall asleep. */
export class Workers {
  readonly #scene: Scene;
  #running: Running[] = [];
  #zombies: Task[] = [];

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** A request or a timer: half of them run beside the workers, call by call; the others run through at once. */
  async request(name: string, work: () => Promise<unknown>): Promise<void> {
    const { random, scheduler } = this.#scene;
    const task = await scheduler.begin(name, work, this.#skew());
    this.#running.push({ task, message: undefined });
    if (random.chance(0.5)) return;
    while (task.state === 'running') await scheduler.turn(task);
    await this.reap();
  }

  /** Takes a message off the queue if a worker is free, mostly in order: queues promise nothing. */
  async take(): Promise<void> {
    const { random, world } = this.#scene;
    if (this.#running.filter(({ message }) => message !== undefined).length >= WORKERS) return;
    const due = world.queue.due();
    if (due.length === 0) {
      const [next] = world.queue.waiting();
      if (next !== undefined && this.#running.length === 0) world.clock.advance(next.dueMs - world.clock.now());
      return;
    }
    const message = world.queue.take(random.chance(0.8) ? undefined : random.pick(due).id);
    if (message !== undefined) await this.#begin(message);
  }

  async #begin(message: QueuedMessage): Promise<void> {
    const { scheduler, ports, count } = this.#scene;
    const { step, id } = message;
    const work = message.deliveries > MOST_DELIVERIES ? giveUp : runStep;
    const task = await scheduler.begin(`${step.step}#${id}`, () => work(ports, step), this.#skew());
    this.#running.push({ task, message });
    count(step.step);
  }

  /** Handlers that have ended; what failed comes again. Anything but a refusal is the simulation's to report. */
  async reap(): Promise<void> {
    for (const { task, message } of this.#running.filter((each) => each.task.state !== 'running')) {
      if (task.error === undefined) continue;
      const refused = message === undefined ? isBackupError(task.error, ...REFUSALS) : isBackupError(task.error);
      if (task.state === 'done' && !refused) throw task.error;
      if (message !== undefined) this.#scene.world.queue.putBack(message, 1);
    }
    for (const zombie of this.#zombies) {
      if (zombie.state === 'done' && zombie.error !== undefined && !isBackupError(zombie.error)) throw zombie.error;
    }
    this.#zombies = this.#zombies.filter(({ state }) => state === 'running');
    this.#running = this.#running.filter(({ task }) => task.state === 'running');
  }

  /** A process dies; its message comes again. */
  async kill(): Promise<boolean> {
    if (this.#running.length === 0) return false;
    await this.#scene.scheduler.kill(this.#scene.random.pick(this.#running).task);
    return true;
  }

  /** A worker falls asleep: its message comes again for a twin, and some day it wakes up. */
  async forget(): Promise<boolean> {
    if (this.#running.length === 0) return false;
    const sleeper = this.#scene.random.pick(this.#running);
    this.#running = this.#running.filter((each) => each !== sleeper);
    this.#zombies.push(sleeper.task);
    if (sleeper.message !== undefined) this.#scene.world.queue.putBack(sleeper.message, 0);
    return true;
  }

  /** A message that waits is handled, and waits still. */
  async duplicate(): Promise<boolean> {
    const waiting = this.#scene.world.queue.due();
    if (waiting.length === 0) return false;
    await this.#begin({ ...this.#scene.random.pick(waiting), deliveries: 1 });
    return true;
  }

  /**
   * Lets everything that was begun come to its end, without any more faults, sleepers included. The watch looks now and then: a
   * verification asks again and again after its drill, whose message may have gone with a worker that fell asleep.
   */
  async drain(): Promise<void> {
    const { scheduler, world } = this.#scene;
    let lookedAt = world.clock.now();
    for (let turns = 0; turns < 200_000; turns++) {
      await this.reap();
      if (world.clock.now() - lookedAt >= LOOK_MS) {
        lookedAt = world.clock.now();
        await watchJobs(world.ports);
      }
      await this.take();
      if (scheduler.waiting().length === 0) {
        await this.reap();
        if (this.#running.length === 0 && world.queue.waiting().length === 0) return;
      }
      await scheduler.turn();
    }
    throw new Error('the work never ends');
  }

  #skew(): number {
    return this.#scene.random.between(-MOST_SKEW_MS, MOST_SKEW_MS);
  }
}
