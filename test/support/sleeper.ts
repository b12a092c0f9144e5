import type { Ports } from '../../shared/services/ports.ts';
import { Killed, gatedPorts } from './gated-ports.ts';

/** A call that a handler is about to make of its ports, or has just made. */
export interface Call {
  readonly moment: 'before' | 'after';
  /** Port and method, as `vault.put`. */
  readonly call: string;
  /** What it is about: a blob's name, a table's partition, a URL; empty where the call names nothing. */
  readonly name: string;
  /** How many calls the handler has begun, this one included. */
  readonly n: number;
}

/** A handler whose process has stopped for a while: none of its calls goes on until it wakes up. */
export interface Sleeper {
  /** False when the handler has ended without coming to where it was to sleep. */
  readonly asleep: boolean;
  /** Lets it go on, and resolves when it has ended. Rejects with what the handler failed with. */
  wake(): Promise<void>;
  /** Ends its process: it makes no more calls. */
  die(): Promise<void>;
}

const nameIn = ([first]: readonly unknown[]): string => (typeof first === 'string' ? first : '');

/** Starts a handler; resolves when it sleeps at the first call that `where` picks, or has ended without one. */
export async function fallAsleep(
  ports: Ports,
  work: (ports: Ports) => Promise<unknown>,
  where: (call: Call) => boolean,
): Promise<Sleeper> {
  let state: 'awake' | 'asleep' | 'woken' | 'dead' = 'awake';
  let begun = 0;
  const slept = Promise.withResolvers<void>();
  const woken = Promise.withResolvers<void>();
  const pass = async (moment: Call['moment'], call: string, args: readonly unknown[]): Promise<void> => {
    if (moment === 'before') begun++;
    const name = nameIn(args);
    if (state === 'awake' && where({ moment, call, name, n: begun })) {
      state = 'asleep';
      slept.resolve();
    }
    if (state === 'asleep') await woken.promise;
    if (state === 'dead') throw new Killed(call);
  };
  const ended = work(
    gatedPorts(ports, {
      before: (call, args) => pass('before', call, args),
      after: (call, args) => pass('after', call, args),
    }),
  );
  const settled = ended.then(
    () => undefined,
    () => undefined,
  );
  await Promise.race([slept.promise, settled]);
  const asleep = (state as string) === 'asleep';
  return {
    asleep,
    async wake() {
      state = 'woken';
      woken.resolve();
      await ended;
    },
    async die() {
      state = 'dead';
      woken.resolve();
      await settled;
    },
  };
}

/** The same ports for a process that dies right after the first call that `where` picks: the call is made, and nobody learns of it. */
export function dyingAfter(ports: Ports, where: (call: Omit<Call, 'n' | 'moment'>) => boolean): Ports {
  let dead = false;
  return gatedPorts(ports, {
    before: (call) => {
      if (dead) throw new Killed(call);
    },
    after: (call, args) => {
      dead ||= where({ call, name: nameIn(args) });
      if (dead) throw new Killed(call);
    },
  });
}

/** The write of a chain record: the last moment before a commit. */
export const itsRecord = ({ moment, call, name }: Call): boolean =>
  moment === 'before' && call === 'vault.put' && name.includes('/chain/');

/** The `n`th call that the handler makes. */
export const callNumber =
  (wanted: number) =>
  ({ moment, n }: Call): boolean =>
    moment === 'before' && n === wanted;

/**
 * Tells a story over and over, its sleeper sleeping at another of its calls each time: `story(n)` resolves whether the sleeper came to
 * its nth call, and the last story is the one in which it did not. Resolves how many calls there were.
 */
export async function atEachCall(story: (n: number) => Promise<boolean>): Promise<number> {
  for (let n = 1; ; n++) {
    try {
      if (!(await story(n))) return n - 1;
    } catch (cause) {
      throw new Error(`asleep at call ${n}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }
}
