import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate } from 'node:timers/promises';
import { BackupError } from '../../shared/domain/errors.ts';
import { type Gate, Killed } from '../support/gated-ports.ts';
import type { Random } from './random.ts';

/** One run of a handler: a process that can be paused at any call, killed, or forgotten and woken up much later. */
export interface Task {
  readonly name: string;
  state: 'running' | 'killed' | 'done';
  error: unknown;
  /** Calls made so far. */
  calls: number;
}

interface Paused {
  readonly task: Task;
  readonly call: string;
  readonly moment: 'before' | 'after';
  readonly resume: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Runs handlers step by step: each call that one makes of its ports waits, before it is made and after, until it is its turn.
 * Which turn is next follows from the seed, so every interleaving can be had, and had again.
 */
export class Scheduler implements Gate {
  readonly #random: Random;
  readonly #current = new AsyncLocalStorage<Task>();
  #paused: Paused[] = [];
  readonly trace: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** Begins a handler; it stops at its first call. */
  async begin(name: string, work: () => Promise<unknown>): Promise<Task> {
    const task: Task = { name, state: 'running', error: undefined, calls: 0 };
    this.trace.push(`begin ${name}`);
    this.#current.run(task, () => {
      work().then(
        () => (task.state = 'done'),
        (error: unknown) => {
          task.error = error;
          if (task.state === 'running') task.state = 'done';
        },
      );
    });
    await setImmediate();
    return task;
  }

  before(call: string): Promise<void> {
    return this.#pause(call, 'before');
  }

  after(call: string): Promise<void> {
    return this.#pause(call, 'after');
  }

  /** Tasks that wait for their turn. */
  waiting(): Task[] {
    return [...new Set(this.#paused.map(({ task }) => task))];
  }

  /** Lets one waiting call of one task go on. With `lose`, a call that was made is answered as if the storage were away. */
  async turn(task?: Task, lose = false): Promise<void> {
    const candidates = task === undefined ? this.#paused : this.#paused.filter((paused) => paused.task === task);
    if (candidates.length === 0) return;
    const chosen = this.#random.pick(candidates);
    this.#paused = this.#paused.filter((paused) => paused !== chosen);
    this.trace.push(`${chosen.task.name}: ${chosen.moment} ${chosen.call}${lose ? ' (answer lost)' : ''}`);
    if (lose && chosen.moment === 'after') {
      chosen.fail(new BackupError('StorageUnavailable', `the answer to ${chosen.call} was lost`));
    } else chosen.resume();
    await setImmediate();
  }

  /** Ends a task's process: none of its waiting calls goes on, and it makes no others. */
  async kill(task: Task): Promise<void> {
    this.trace.push(`kill ${task.name}`);
    task.state = 'killed';
    const ending = this.#paused.filter((paused) => paused.task === task);
    this.#paused = this.#paused.filter((paused) => paused.task !== task);
    for (const { fail, call } of ending) fail(new Killed(call));
    await setImmediate();
  }

  #pause(call: string, moment: 'before' | 'after'): Promise<void> {
    const task = this.#current.getStore();
    if (task === undefined) return Promise.resolve();
    if (task.state === 'killed') return Promise.reject(new Killed(call));
    task.calls++;
    return new Promise((resume, fail) => this.#paused.push({ task, call, moment, resume, fail }));
  }
}
