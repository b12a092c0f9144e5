import { giveBuffer, takeBuffer } from './buffers.ts';
import type { RestoreTarget, RestoreTargets } from '../disk/restore-targets.ts';

/** Most bytes of one write: the most that Put Page takes. */
const WRITE_BYTES = 4 * 1024 * 1024;
/** Writes under way at once. */
const WRITES_IN_FLIGHT = 4;

/** Writes runs of bytes to a restore target; adjacent runs go out together. What lies past the disk's end (padding) is cut off. */
export class TargetWriter {
  readonly #targets: RestoreTargets;
  readonly #target: RestoreTarget;
  readonly #endOfDisk: number;
  #offset = 0;
  /** What goes out with the next write: the first `#pendingBytes` of it. */
  #pending: Uint8Array | undefined;
  #pendingBytes = 0;
  readonly #running = new Set<Promise<void>>();

  constructor(targets: RestoreTargets, target: RestoreTarget, endOfDisk: number) {
    this.#targets = targets;
    this.#target = { url: target.url, leaseId: target.leaseId };
    this.#endOfDisk = endOfDisk;
  }

  /** `bytes` belong at `offset` of the disk. They are copied. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const fits = bytes.subarray(0, Math.max(0, this.#endOfDisk - offset));
    for (let from = 0; from < fits.length; from += WRITE_BYTES)
      await this.#add(offset + from, fits.subarray(from, from + WRITE_BYTES));
  }

  async #add(offset: number, bytes: Uint8Array): Promise<void> {
    const adjoins = offset === this.#offset + this.#pendingBytes;
    if (!adjoins || this.#pendingBytes + bytes.length > WRITE_BYTES) await this.#flush();
    if (this.#pendingBytes === 0) this.#offset = offset;
    this.#pending ??= takeBuffer(WRITE_BYTES);
    this.#pending.set(bytes, this.#pendingBytes);
    this.#pendingBytes += bytes.length;
  }

  /** Resolves when everything is written. */
  async finish(): Promise<void> {
    await this.#flush();
    await Promise.all(this.#running);
  }

  async #flush(): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) return;
    const body = pending.subarray(0, this.#pendingBytes);
    const offset = this.#offset;
    this.#pending = undefined;
    this.#pendingBytes = 0;
    while (this.#running.size >= WRITES_IN_FLIGHT) await Promise.race(this.#running);
    const write = async (): Promise<void> => {
      await this.#targets.write(this.#target, offset, body);
      this.#running.delete(tracked);
      // After a failure it is not used again: something may still be sending it.
      giveBuffer(pending);
    };
    const tracked = write();
    tracked.catch(() => undefined); // a failure stays in the set and meets the next race or finish
    this.#running.add(tracked);
  }
}
