import type { Ports } from '../../shared/services/ports.ts';
import { BackupError } from '../../shared/domain/errors.ts';
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
    if (this.calls !== this.at || this.#struck) return;
    this.#struck = true;
    if (this.moment === 'after') this.#die(call);
    if (this.moment === 'lost')
      throw new BackupError('StorageUnavailable', `the answer to call ${this.at} (${call}) was lost`);
  }

  revive(): void {
    this.#dead = false;
  }

  #die(call: string): never {
    this.#dead = true;
    throw new Killed(`killed ${this.moment} call ${this.at}: ${call}`);
  }
}

export const crashing =
  (gate: Gate) =>
  (ports: Ports): Ports =>
    gatedPorts(ports, gate);
