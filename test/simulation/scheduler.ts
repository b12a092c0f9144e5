import { AsyncLocalStorage } from 'node:async_hooks';
import { BackupError } from '../../shared/domain/errors.ts';
import { type Gate, Killed } from '../support/gated-ports.ts';
import type { Random } from './random.ts';

/** Lines of trace that are kept. */
const TRACED = 40;

/** One run of a handler: a process that can be paused at any call, killed, or forgotten and woken up much later. */
export interface Task {
  readonly name: string;
  /** By how much its process's clock is ahead. */
  readonly skewMs: number;
  state: 'running' | 'killed' | 'done';
  error: unknown;
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
  /** What happened last, for a report of what went wrong. */
  trace: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** Begins a handler; it stops at its first call. */
  async begin(name: string, work: () => Promise<unknown>, skewMs = 0): Promise<Task> {
    const task: Task = { name, skewMs, state: 'running', error: undefined };
    this.#note(`begin ${name}`);
    this.#current.run(task, () => {
      work().then(
        () => (task.state = 'done'),
        (error: unknown) => {
          task.error = error;
          if (task.state === 'running') task.state = 'done';
        },
      );
    });
    await allPaused();
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

  /**
   * Lets one waiting call of one task go on. As a fault, a call that was made is answered as if the storage were away (`lost`), or one
   * is answered so that is not made (`refused`). False where no such call waits.
   */
  async turn(task?: Task, fault?: 'lost' | 'refused'): Promise<boolean> {
    const moment = fault === undefined ? undefined : fault === 'lost' ? 'after' : 'before';
    const candidates = this.#paused.filter(
      (paused) => (task === undefined || paused.task === task) && (moment === undefined || paused.moment === moment),
    );
    if (candidates.length === 0) return false;
    const chosen = this.#random.pick(candidates);
    this.#paused = this.#paused.filter((paused) => paused !== chosen);
    this.#note(`${chosen.task.name}: ${chosen.moment} ${chosen.call}${fault === undefined ? '' : ` (${fault})`}`);
    if (fault === undefined) chosen.resume();
    else chosen.fail(new BackupError('StorageUnavailable', `${chosen.call} was ${fault}`));
    await allPaused();
    return true;
  }

  /** By how much the clock of the process that asks is ahead. */
  skewMs(): number {
    return this.#current.getStore()?.skewMs ?? 0;
  }

  /** Ends a task's process: none of its waiting calls goes on, and it makes no others. */
  async kill(task: Task): Promise<void> {
    this.#note(`kill ${task.name}`);
    task.state = 'killed';
    const ending = this.#paused.filter((paused) => paused.task === task);
    this.#paused = this.#paused.filter((paused) => paused.task !== task);
    for (const { fail, call } of ending) fail(new Killed(call));
    await allPaused();
  }

  #pause(call: string, moment: 'before' | 'after'): Promise<void> {
    const task = this.#current.getStore();
    if (task === undefined) return Promise.resolve();
    if (task.state === 'killed') return Promise.reject(new Killed(call));
    return new Promise((resume, fail) => this.#paused.push({ task, call, moment, resume, fail }));
  }

  #note(line: string): void {
    this.trace.push(line);
    if (this.trace.length > 2 * TRACED) this.trace = this.trace.slice(-TRACED);
  }
}

/** Resolves when every task waits at a call or has ended: in memory nothing else can be waited for than other promises. */
function allPaused(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
