import type { SourceRates } from '../domain/source-rates.ts';

/*
 * Reads of source disks, held to what the disks give. More streams than a page blob bears do not make it faster, they make it refuse;
 * and a disk that is read by many must leave the account's other disks their share.
 *
 * For each disk, and for each account, this process keeps a lane: how many requests run, how many may (the window), when the next may
 * begin by the rates, and a time before which none begins. An answer of 429 or 503 halves window and rates and stops the lane for as long
 * as the answer says; while requests succeed a full window widens, and the rates come back with time. Other processes do the
 * same: what they take from a disk shows here as refusals. Nothing is shared between processes.
 *
 * A managed disk is in no account that it shares with others as far as anybody knows: it has a lane, and no account. The calls to Compute go by
 * the same rules, the kinds of calls in the place of disks and subscriptions in that of accounts: so Azure counts them.
 */

export interface SourcePaceOptions {
  /** What the disk at a URL gives in a second; undefined: nothing is waited for until it refuses. */
  ratesOf(url: string): SourceRates | undefined;
  /** What one account gives to this process; undefined as above. */
  readonly accountRates: SourceRates | undefined;
  /** The account of a disk; undefined: it shares one with none. */
  accountOf(url: string): string | undefined;
  /** A lane stops for as long as an answer says, and at most for this. Default 30,000 ms. */
  readonly mostPauseMs?: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Calls `then` so many milliseconds later. */
  readonly after: (ms: number, then: () => void) => void;
}

/** What is asked of a disk at once. */
export interface SourceRequest {
  readonly requests: number;
  readonly bytes: number;
}

/** What ends the waiting for a turn: an AbortSignal, or what an SDK has in its place. */
export interface EndOfWaiting {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Windows of disks that are held to rates begin here: 4 reads of 8 MiB keep a standard disk busy, small ones need more. */
const FIRST_WINDOW = 8;
const MOST_WINDOW = 64;
/** Where no rates are known, and for accounts. */
const WIDE_FIRST_WINDOW = 64;
const WIDE_MOST_WINDOW = 256;
/** The rates may be run ahead of by so much: timers are no finer. */
const AHEAD_MS = 50;
/** How long a lane stops when the answer does not say, and at most. */
const PAUSE_MS = 250;
const MOST_PAUSE_MS = 30_000;
/** Refusals within this time are one: the requests that met them were sent before anybody knew. */
const ONE_REFUSAL_MS = 1_000;
/** Halved rates are whole again after half of this. */
const RECOVERY_MS = 40_000;
const LEAST_SHARE = 1 / 64;
/** A window that is full becomes wider by one after so long. */
const WIDEN_MS = 250;

/** Statuses that say: too much. https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes */
export const isThrottle = (status: number | undefined): boolean => status === 429 || status === 503;

class Lane {
  readonly #rates: SourceRates | undefined;
  readonly #mostPauseMs: number;
  readonly #mostWindow: number;
  #window: number;
  #running = 0;
  /** By the rates the next request begins then. */
  #nextMs = 0;
  #pausedUntilMs = -Infinity;
  #widenedMs = -Infinity;
  /** The share of the rates that was left by the last refusal, and when that was. */
  #share = 1;
  #refusedMs = -Infinity;

  constructor(rates: SourceRates | undefined, isWide: boolean, mostPauseMs: number) {
    this.#rates = rates;
    this.#mostPauseMs = mostPauseMs;
    this.#window = isWide ? WIDE_FIRST_WINDOW : FIRST_WINDOW;
    this.#mostWindow = isWide ? WIDE_MOST_WINDOW : MOST_WINDOW;
  }

  /** Milliseconds until a request may begin; Infinity: when another has ended. */
  waitMs(nowMs: number): number {
    if (this.#running >= this.#window) return Infinity;
    return Math.max(0, this.#nextMs - AHEAD_MS - nowMs, this.#pausedUntilMs - nowMs);
  }

  pauseMs(nowMs: number): number {
    return Math.max(0, this.#pausedUntilMs - nowMs);
  }

  begin({ requests, bytes }: SourceRequest, nowMs: number): void {
    this.#running += 1;
    if (this.#rates === undefined) return;
    const { requestsPerSecond, bytesPerSecond } = this.#rates;
    const seconds = Math.max(requests / requestsPerSecond, bytes / bytesPerSecond) / this.#shareAt(nowMs);
    this.#nextMs = Math.max(this.#nextMs, nowMs) + seconds * 1000;
  }

  end(succeeded: boolean, nowMs: number): void {
    const isFull = this.#running >= this.#window;
    this.#running -= 1;
    if (!succeeded || !isFull || nowMs - this.#widenedMs < WIDEN_MS) return;
    this.#window = Math.min(this.#mostWindow, this.#window + 1);
    this.#widenedMs = nowMs;
  }

  refuse(nowMs: number, retryAfterMs: number | undefined): void {
    const pause = Math.min(retryAfterMs ?? PAUSE_MS, this.#mostPauseMs);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, nowMs + pause);
    if (nowMs - this.#refusedMs < ONE_REFUSAL_MS) return;
    this.#share = Math.max(LEAST_SHARE, this.#shareAt(nowMs) / 2);
    this.#refusedMs = nowMs;
    this.#window = Math.max(1, Math.floor(this.#window / 2));
    this.#widenedMs = nowMs;
  }

  #shareAt(nowMs: number): number {
    return Math.min(1, this.#share + Math.max(0, nowMs - this.#refusedMs) / RECOVERY_MS);
  }
}

interface Disk {
  readonly lane: Lane;
  /** Requests that wait for their turn, the oldest first. */
  readonly waiting: Waiting[];
}

interface Waiting {
  readonly request: SourceRequest;
  readonly begin: () => void;
}

interface Account {
  readonly lane: Lane;
  /** The disks with requests that wait, in the order in which they have their turns. */
  turns: Disk[];
  /** When the timer is set for; Infinity: it is not. */
  timerMs: number;
  /** Which disk was refused last, and when. */
  refused: { disk: Disk; atMs: number } | undefined;
}

/** Holds the requests of one process to what disks and accounts give, each disk of an account in its turn. */
export class SourcePace {
  readonly #options: SourcePaceOptions;
  readonly #mostPauseMs: number;
  readonly #disks = new Map<string, Disk>();
  readonly #accounts = new Map<string, Account>();

  constructor(options: SourcePaceOptions) {
    this.#options = options;
    this.#mostPauseMs = options.mostPauseMs ?? MOST_PAUSE_MS;
  }

  /** Does `work` for the disk at `url` when its turn has come. @throws an AbortError where `signal` ends the waiting */
  async run<T>(url: string, request: SourceRequest, work: () => Promise<T>, signal?: EndOfWaiting): Promise<T> {
    const disk = this.#diskOf(url);
    const account = this.#accountOf(url);
    await new Promise<void>((then, fail) => {
      const giveUp = (): void => {
        disk.waiting.splice(disk.waiting.indexOf(waits), 1);
        if (disk.waiting.length === 0) account.turns = account.turns.filter((other) => other !== disk);
        fail(Object.assign(new Error(`no turn came at ${url}`), { name: 'AbortError' }));
      };
      const begin = (): void => {
        signal?.removeEventListener('abort', giveUp);
        then();
      };
      const waits: Waiting = { request, begin };
      disk.waiting.push(waits);
      if (!account.turns.includes(disk)) account.turns.push(disk);
      if (signal?.aborted === true) return giveUp();
      signal?.addEventListener('abort', giveUp);
      this.#turn(account);
    });
    let succeeded = false;
    try {
      const result = await work();
      succeeded = true;
      return result;
    } finally {
      const nowMs = this.#options.now();
      disk.lane.end(succeeded, nowMs);
      account.lane.end(succeeded, nowMs);
      this.#turn(account);
    }
  }

  /** Resolves when the disk's storage may be asked again: a client's own retries wait for it. */
  async ready(url: string): Promise<void> {
    const disk = this.#diskOf(url);
    for (;;) {
      const ms = disk.lane.pauseMs(this.#options.now());
      if (ms === 0) return;
      await new Promise<void>((then) => this.#options.after(ms, then));
    }
  }

  /** Tells what the storage has answered to one try of a request. */
  answered(url: string, status: number | undefined, retryAfterMs?: number): void {
    if (!isThrottle(status)) return;
    const nowMs = this.#options.now();
    const disk = this.#diskOf(url);
    const account = this.#accountOf(url);
    disk.lane.refuse(nowMs, retryAfterMs);
    // One disk that refuses is at its own end; where two do, it is their account.
    const { refused } = account;
    if (refused !== undefined && refused.disk !== disk && nowMs - refused.atMs < ONE_REFUSAL_MS) {
      account.lane.refuse(nowMs, retryAfterMs);
    }
    account.refused = { disk, atMs: nowMs };
  }

  #diskOf(url: string): Disk {
    const key = keyOf(url);
    let disk = this.#disks.get(key);
    if (disk === undefined) {
      const rates = this.#options.ratesOf(key);
      disk = { lane: new Lane(rates, rates === undefined, this.#mostPauseMs), waiting: [] };
      this.#disks.set(key, disk);
    }
    return disk;
  }

  #accountOf(url: string): Account {
    const shared = this.#options.accountOf(keyOf(url));
    const key = shared ?? keyOf(url);
    let account = this.#accounts.get(key);
    if (account === undefined) {
      const lane = new Lane(shared === undefined ? undefined : this.#options.accountRates, true, this.#mostPauseMs);
      account = { lane, turns: [], timerMs: Infinity, refused: undefined };
      this.#accounts.set(key, account);
    }
    return account;
  }

  /** Begins whatever may begin now, one request of each disk in turn, and looks again when the next may. */
  #turn(account: Account): void {
    for (;;) {
      const nowMs = this.#options.now();
      let waitMs = account.turns.length === 0 ? Infinity : account.lane.waitMs(nowMs);
      if (waitMs === 0) {
        const at = account.turns.findIndex(({ lane }) => lane.waitMs(nowMs) === 0);
        const disk = account.turns[at];
        if (disk !== undefined) {
          const { request, begin } = disk.waiting.shift()!;
          account.turns.splice(at, 1);
          if (disk.waiting.length > 0) account.turns.push(disk);
          disk.lane.begin(request, nowMs);
          account.lane.begin(request, nowMs);
          begin();
          continue;
        }
        waitMs = Math.min(...account.turns.map(({ lane }) => lane.waitMs(nowMs)));
      }
      if (waitMs !== Infinity) this.#lookAgain(account, nowMs + waitMs);
      return;
    }
  }

  #lookAgain(account: Account, atMs: number): void {
    if (account.timerMs <= atMs) return;
    account.timerMs = atMs;
    this.#options.after(Math.ceil(atMs - this.#options.now()), () => {
      if (account.timerMs === atMs) account.timerMs = Infinity;
      this.#turn(account);
    });
  }
}

/** One spelling of a disk's URL, without the query that names its snapshot; a name that is no URL stays as it is. */
function keyOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
