import type { StepName } from '../../shared/queue/steps.ts';
import type { Random } from '../simulation/random.ts';
import { HostLog, type Invocation } from './host-log.ts';

/** A part of Strata's work that is to be hit by kills: the steps that it is made of, and how often it is to be hit. */
export interface Phase {
  readonly name: string;
  readonly steps: readonly StepName[];
  readonly kills: number;
}

/** A host that was killed. */
export interface Kill {
  readonly host: string;
  /** Milliseconds between the start of the step that was waited for and the signal. */
  readonly delayMs: number;
  readonly wanted: string;
  /** The steps that had begun and not ended when the host died. */
  readonly steps: readonly string[];
}

/** A host process that can be killed and is started again by somebody. */
export interface Victim {
  readonly name: string;
  readonly pid: number;
  /** Kills the process; resolves when it is gone and all that it printed was heard. */
  kill(): Promise<void>;
}

const MOST_DELAY_MS = 50;

/**
 * Kills hosts in the middle of steps: when a host begins a step of a phase that has not been hit often enough, it is killed 0 to
 * 50 ms later. A kill counts for a phase when a step of it had begun and not ended as the host died.
 */
export class Killer {
  readonly log: HostLog;
  readonly kills: Kill[] = [];
  readonly #phases: readonly Phase[];
  readonly #leastKills: number;
  readonly #random: Random;
  readonly #victim: (pid: number) => Victim | undefined;
  readonly #doomed = new Set<number>();
  #isOver = false;

  /**
   * Kills until each phase was hit as often as it says, and `leastKills` times in all. `victim` answers the host of a process id,
   * or undefined when it is not to be killed now.
   */
  constructor(
    phases: readonly Phase[],
    leastKills: number,
    random: Random,
    victim: (pid: number) => Victim | undefined,
  ) {
    this.#phases = phases;
    this.#leastKills = leastKills;
    this.#random = random;
    this.#victim = victim;
    this.log = new HostLog((invocation) => this.#consider(invocation));
  }

  /** How often a phase was hit. */
  hits({ steps }: Phase): number {
    return this.kills.filter((kill) => kill.steps.some((step) => steps.includes(step as StepName))).length;
  }

  get isDone(): boolean {
    return this.kills.length >= this.#leastKills && this.#phases.every((phase) => this.#isHitEnough(phase));
  }

  #isHitEnough(phase: Phase): boolean {
    return this.hits(phase) >= phase.kills;
  }

  /** From now on nobody is killed; resolves when those that were about to die are dead. */
  async stop(): Promise<void> {
    this.#isOver = true;
    while (this.#doomed.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  #consider({ fn, pid, id }: Invocation): void {
    const phase = this.#phases.find(({ steps }) => steps.includes(fn as StepName));
    if (this.#isOver || this.isDone || phase === undefined || this.#doomed.has(pid)) return;
    if (this.#isHitEnough(phase) && !this.#phases.every((each) => this.#isHitEnough(each))) return;
    // Steps in a row are not all hit, or the work would come to nothing but retries.
    const isSpared = this.#random.chance(0.3);
    const delayMs = Math.floor(this.#random.next() * MOST_DELAY_MS);
    const victim = isSpared ? undefined : this.#victim(pid);
    if (victim === undefined) return;
    this.#doomed.add(pid);
    setTimeout(() => void this.#kill(victim, phase, delayMs, id), delayMs);
  }

  async #kill(victim: Victim, phase: Phase, delayMs: number, id: string): Promise<void> {
    // A step that was too quick: better luck with the next one.
    const hasEnded = !this.log.running(victim.pid).some((each) => each.id === id);
    if (!hasEnded) {
      await victim.kill();
      const steps = this.log.running(victim.pid).map(({ fn }) => fn);
      this.kills.push({ host: victim.name, delayMs, wanted: phase.name, steps });
      this.log.forget(victim.pid);
    }
    this.#doomed.delete(victim.pid);
  }

  /** What was hit, for people. */
  table(): string {
    const width = Math.max(...this.#phases.map(({ name }) => name.length));
    const lines = this.#phases.map((phase) => {
      const hit = this.kills.filter(({ steps }) => steps.some((step) => phase.steps.includes(step as StepName)));
      const delays = hit.map(({ delayMs }) => delayMs).sort((a, b) => a - b);
      const steps = phase.steps.map((step) => `${step} ${hit.filter((kill) => kill.steps.includes(step)).length}`);
      return `  ${phase.name.padEnd(width)}  ${String(hit.length).padStart(3)} of ${phase.kills}  ${steps.join(', ')}  after ${delays.join(' ')} ms`;
    });
    const hosts = [...new Set(this.kills.map(({ host }) => host))].map(
      (host) => `${host} ${this.kills.filter((kill) => kill.host === host).length}`,
    );
    const missed = this.kills.filter(({ steps }) => steps.length === 0).length;
    return [`${this.kills.length} kills (${hosts.join(', ')}), ${missed} of them between steps:`, ...lines].join('\n');
  }
}
