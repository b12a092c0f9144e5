/**
 * Access to managed snapshots by SAS, shared between all readers of a process.
 *
 * Compute opens at most five snapshots of one disk's incremental family at a time. So there is one pool per disk: readers of a
 * snapshot share one grant; who needs a sixth waits until one is free, and takes it from a snapshot that nobody reads any
 * more. All that a reader needs at once is taken at once or not at all: two readers that each hold what the other waits for
 * cannot be. Where another process has them, Compute refuses, and the reader tries again with growing delay.
 *
 * A grant is asked for by its duration and renewed when half of that has gone by since it was asked for, on a clock that only
 * goes forward: when it ends by the storage's time does not depend on what time this machine believes it is. It is ended when
 * its last reader has been done for a moment. What a crash leaves open ends by itself.
 *
 * What Compute answers to who asks for access that is open is said nowhere. Whatever it is, readers go on: another URL is used from then on,
 * one that is refused by the storage is asked for anew, and where a renewal is refused the old one is used until its time is over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackupError, type ErrorCode, isBackupError } from '../domain/errors.ts';

/** Snapshots of one family that may be open at once: https://learn.microsoft.com/azure/virtual-machines/disks-incremental-snapshots */
export const MOST_OPEN = 5;

/** How access is asked for and ended. Both may be called again at any time. */
export interface SasSource {
  /** @throws BackupError SnapshotAccessLimit when too many are open, UserErrorInstantRpNotFound when it is gone */
  open(id: string, seconds: number): Promise<string>;
  close(id: string): Promise<void>;
}

export interface SasGrantsOptions {
  /** Default 900. */
  readonly seconds?: number;
  /** A grant that nobody uses is kept for this: the next piece of the same work comes soon. Default 5,000 ms; Infinity: until `end`. */
  readonly lingerMs?: number;
  /** A reader that other processes keep waiting gives up after this. Default 30,000 ms. */
  readonly patienceMs?: number;
  /** Milliseconds of a clock that only goes forward. Default `performance.now`. */
  readonly now?: () => number;
}

interface Grant {
  users: number;
  url: Promise<string> | undefined;
  /** Access was asked for, and as far as we know has not ended: only then is it ours to end. */
  opened: boolean;
  askedAtMs: number;
  /** The next renewal comes no sooner: the last one was refused. */
  renewAtMs: number;
  timer: NodeJS.Timeout | undefined;
  closing: Promise<void> | undefined;
}

/** A request was refused in spite of its SAS: somebody has ended the access, or it has run out. */
export class SasRefused extends Error {
  override readonly name = 'SasRefused';
}

/** After these nothing is open on our behalf. */
const REFUSALS: readonly ErrorCode[] = [
  'SnapshotAccessLimit',
  'UserErrorInstantRpNotFound',
  'BlobNotFound',
  'ResourceIsLeased',
];

/** After a renewal that was refused the next one comes no sooner. */
const RENEW_AGAIN_MS = 30_000;

/** Times that a piece of work may meet an access that was ended meanwhile. */
const MOST_REFUSALS = 4;

export interface SasGrants {
  /**
   * Runs `work` with the URLs of the snapshots `ids` of one disk, in their order; again with new ones when it throws SasRefused.
   * @throws BackupError SnapshotAccessLimit, UserErrorInstantRpNotFound, AuthorizationFailed, ComputeUnavailable
   */
  use<T>(family: string, ids: readonly string[], work: (urls: readonly string[]) => Promise<T>): Promise<T>;
  /** Ends the access to a snapshot, whoever uses it. */
  end(family: string, id: string): Promise<void>;
}

export function sasGrants(source: SasSource, options: SasGrantsOptions = {}): SasGrants {
  const { seconds = 900, lingerMs = 5_000, patienceMs = 30_000, now = () => performance.now() } = options;
  const families = new Map<string, { grants: Map<string, Grant>; waiting: (() => void)[] }>();

  function familyOf(name: string): { grants: Map<string, Grant>; waiting: (() => void)[] } {
    const known = families.get(name);
    if (known !== undefined) return known;
    const made = { grants: new Map<string, Grant>(), waiting: [] };
    families.set(name, made);
    return made;
  }

  /** Ends a grant that nobody uses; its place is free when Compute has answered, whatever it answered. */
  async function close(family: string, id: string, grant: Grant): Promise<void> {
    clearTimeout(grant.timer);
    const { opened } = grant;
    grant.url = undefined;
    grant.opened = false;
    const end = async (): Promise<void> => {
      // Whoever cannot end it leaves it to its own end.
      if (opened) await source.close(id).catch(() => undefined);
      const { grants, waiting } = familyOf(family);
      grants.delete(id);
      if (grants.size === 0 && waiting.length === 0) families.delete(family);
      for (const wake of waiting.splice(0)) wake();
    };
    grant.closing ??= end();
    await grant.closing;
  }

  /** Counts the caller among the users of all `ids`; waits until there is room for all of them. */
  async function take(family: string, ids: readonly string[]): Promise<Grant[]> {
    for (;;) {
      const { grants, waiting } = familyOf(family);
      const ending = ids.flatMap((id) => grants.get(id)?.closing ?? []);
      if (ending.length > 0) {
        await Promise.all(ending);
        continue;
      }
      const fresh = ids.filter((id) => !grants.has(id));
      if (grants.size + fresh.length <= MOST_OPEN) {
        return ids.map((id) => {
          const grant = grants.get(id) ?? {
            users: 0,
            url: undefined,
            opened: false,
            askedAtMs: 0,
            renewAtMs: 0,
            timer: undefined,
            closing: undefined,
          };
          grants.set(id, grant);
          grant.users += 1;
          clearTimeout(grant.timer);
          return grant;
        });
      }
      const idle = [...grants].find(([id, grant]) => grant.users === 0 && !ids.includes(id));
      if (idle === undefined) await new Promise<void>((resolve) => waiting.push(resolve));
      else await close(family, ...idle);
    }
  }

  function release(family: string, id: string, grant: Grant): void {
    grant.users -= 1;
    if (grant.users > 0) return;
    if (lingerMs === 0 || !grant.opened) void close(family, id, grant);
    else {
      if (Number.isFinite(lingerMs)) {
        grant.timer = setTimeout(() => void close(family, id, grant), lingerMs);
        grant.timer.unref();
      }
      for (const wake of familyOf(family).waiting.splice(0)) wake();
    }
  }

  async function urlOf(id: string, grant: Grant): Promise<string> {
    const { url: old, askedAtMs } = grant;
    const ageMs = now() - askedAtMs;
    if (old !== undefined && (ageMs < (seconds * 1_000) / 2 || now() < grant.renewAtMs)) return old;
    grant.askedAtMs = now();
    const isGood = old !== undefined && ageMs < seconds * 1_000;
    const asked: Promise<string> = source.open(id, seconds).catch((error: unknown) => {
      if (!isGood || !isBackupError(error, 'SnapshotAccessLimit')) throw error;
      if (grant.url === asked) Object.assign(grant, { askedAtMs, renewAtMs: now() + RENEW_AGAIN_MS });
      return old;
    });
    grant.url = asked;
    grant.opened = true;
    try {
      return await asked;
    } catch (error) {
      if (grant.url === asked) {
        grant.url = undefined;
        // After any other failure it may be open: the answer was lost.
        grant.opened = !isBackupError(error, ...REFUSALS);
      }
      throw error;
    }
  }

  async function attempt<T>(
    family: string,
    ids: readonly string[],
    work: (urls: readonly string[]) => Promise<T>,
  ): Promise<{ done: T } | { refused: SasRefused } | { full: BackupError }> {
    const grants = await take(family, ids);
    try {
      // Compute works on one resource at a time anyway, and of two that may not both be had one is enough to know.
      const urls: string[] = [];
      for (const [i, id] of ids.entries()) urls.push(await urlOf(id, grants[i]!));
      try {
        return { done: await work(urls) };
      } catch (error) {
        if (!(error instanceof SasRefused)) throw error;
        // Another has perhaps asked anew already.
        for (const [i, grant] of grants.entries()) {
          if ((await grant.url?.catch(() => undefined)) !== urls[i]) continue;
          grant.url = undefined;
          grant.opened = false;
        }
        return { refused: error };
      }
    } catch (error) {
      if (isBackupError(error, 'SnapshotAccessLimit')) return { full: error };
      throw error;
    } finally {
      for (const [i, id] of ids.entries()) release(family, id, grants[i]!);
    }
  }

  return {
    async use(family, ids, work) {
      const wanted = [...new Set(ids)];
      const startedAtMs = now();
      let refusals = 0;
      for (let delayMs = 250; ;) {
        const outcome = await attempt(family, wanted, (urls) => work(ids.map((id) => urls[wanted.indexOf(id)]!)));
        if ('done' in outcome) return outcome.done;
        if ('refused' in outcome) {
          refusals += 1;
          if (refusals < MOST_REFUSALS) continue;
          const message = `access to ${ids.join(' and ')} was granted and then refused, ${refusals} times`;
          // Most likely other workers have done with it, and each ends the access for all: that is over when they are idle.
          throw new BackupError('SnapshotAccessLimit', message, { cause: outcome.refused.cause });
        }
        if (now() - startedAtMs + delayMs > patienceMs) throw outcome.full;
        // Apart from each other, or two processes would go on meeting.
        await sleep(delayMs * (0.5 + Math.random()));
        delayMs = Math.min(delayMs * 2, 5_000);
      }
    },
    async end(family, id) {
      const grant = families.get(family)?.grants.get(id);
      if (grant !== undefined) {
        grant.url = undefined;
        grant.opened = false;
        if (grant.users === 0) void close(family, id, grant);
      }
      await source.close(id);
    },
  };
}
