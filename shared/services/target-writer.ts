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
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  readonly #running = new Set<Promise<void>>();

  constructor(targets: RestoreTargets, target: RestoreTarget, endOfDisk: number) {
    this.#targets = targets;
    this.#target = { url: target.url, leaseId: target.leaseId };
    this.#endOfDisk = endOfDisk;
  }

  /** `bytes` belong at `offset` of the disk. They must not change afterwards. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const fits = bytes.subarray(0, Math.max(0, this.#endOfDisk - offset));
    if (fits.length === 0) return;
    const adjoins = offset === this.#offset + this.#pendingBytes;
    if (!adjoins || this.#pendingBytes + fits.length > WRITE_BYTES) await this.#flush();
    if (this.#pendingBytes === 0) this.#offset = offset;
    this.#pending.push(fits);
    this.#pendingBytes += fits.length;
  }

  /** Resolves when everything is written. */
  async finish(): Promise<void> {
    await this.#flush();
    await Promise.all(this.#running);
  }

  async #flush(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    const body = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    const offset = this.#offset;
    this.#pending = [];
    this.#pendingBytes = 0;
    while (this.#running.size >= WRITES_IN_FLIGHT) await Promise.race(this.#running);
    const write = this.#targets.write(this.#target, offset, body);
    const tracked = write.then(() => void this.#running.delete(tracked));
    tracked.catch(() => undefined); // a failure stays in the set and meets the next race or finish
    this.#running.add(tracked);
  }
}
