import type { Ports } from '../../shared/services/ports.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Step, StepName } from '../../shared/queue/steps.ts';
import { type Gate, Killed, gatedPorts } from './gated-ports.ts';

/** Counts the calls that handlers make of their ports, and kills the handler at one of them. */
export class CrashGate implements Gate {
  /** Calls so far. */
  calls = 0;
  readonly trace: string[] = [];
  /** Kill at this call, counted from 1; 0: never. */
  at = 0;
  /** `lost`: the call was made, its answer is lost, and the handler lives on and is told so. */
  moment: 'before' | 'after' | 'lost' = 'before';
  /** Once killed, the process makes no calls; it is set alive again for the next message. */
  #dead = false;
  #struck = false;

  before(call: string): void {
    if (this.#dead) throw new Killed(call);
    this.calls++;
    this.trace.push(call);
    if (this.calls === this.at && this.moment === 'before') this.#die(call);
  }

  after(call: string): void {
    if (this.#dead) throw new Killed(call);
    // Of calls that run at once, the first to end.
    if (this.at === 0 || this.calls < this.at || this.#struck) return;
    if (this.moment === 'after') this.#die(call);
    if (this.moment !== 'lost') return;
    this.#struck = true;
    throw new BackupError('StorageUnavailable', `the answer to call ${this.at} (${call}) was lost`);
  }

  revive(): void {
    this.#dead = false;
  }

  /** As if nothing had been called yet. */
  protected reset(): void {
    this.calls = 0;
    this.trace.length = 0;
    this.#struck = false;
    this.#dead = false;
  }

  /** Whether the call to strike at has come. */
  get hasStruck(): boolean {
    return this.#struck;
  }

  #die(call: string): never {
    this.#dead = true;
    this.#struck = true;
    throw new Killed(`killed ${this.moment} call ${this.at}: ${call}`);
  }
}

/** Counts and kills only while steps of one operation are handled. */
export class OperationGate extends CrashGate {
  #steps: ReadonlySet<StepName> = new Set();
  #isOn = false;

  /** From now on these are the operation's steps; `at` 0 counts their calls only. */
  watch(steps: readonly StepName[], at: number, moment: CrashGate['moment']): void {
    this.#steps = new Set(steps);
    this.reset();
    this.at = at;
    this.moment = moment;
  }

  /** Must hear of each step before it is handled. */
  readonly onStep = ({ step }: Step): void => {
    this.#isOn = this.#steps.has(step);
  };

  override before(call: string): void {
    if (this.#isOn) super.before(call);
  }

  override after(call: string): void {
    if (this.#isOn) super.after(call);
  }
}

export const crashing =
  (gate: Gate) =>
  (ports: Ports): Ports =>
    gatedPorts(ports, gate);
