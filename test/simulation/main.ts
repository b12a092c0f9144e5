import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { runHistory } from './history.ts';

/*
 * As many random histories as one likes, over all cores:
 *
 *     npm run simulate -- [--histories 10000] [--seed 1] [--workers <cores>]
 *
 * Exit code 0: all kept every rule. 1: one broke a rule; its seed is printed, and `--histories 1 --seed <it>` repeats it. 2: the
 * arguments are wrong.
 */

interface Share {
  readonly first: number;
  readonly end: number;
  readonly step: number;
}

type Report = { readonly done: number; readonly counts: ReadonlyMap<string, number> } | { readonly broken: string };

const PROGRESS_MS = 10_000;
const MOST_WORKERS = 256;

class WrongArgument extends Error {}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new WrongArgument(`--${option} ${text}: expected a whole number from ${least} to ${most}`);
}

function readArguments(args: string[]): { histories: number; seed: number; workers: number } {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        histories: { type: 'string', default: '10000' },
        seed: { type: 'string', default: '1' },
        workers: { type: 'string', default: `${availableParallelism()}` },
      },
    }));
  } catch (error) {
    throw new WrongArgument(`${(error as Error).message}. Known are --histories, --seed and --workers`, {
      cause: error,
    });
  }
  return {
    histories: wholeNumber('histories', values.histories, 1, 1e9),
    // Seeds are 32 bits.
    seed: wholeNumber('seed', values.seed, 0, 2 ** 32 - 1),
    workers: wholeNumber('workers', values.workers, 1, MOST_WORKERS),
  };
}

/** Runs a worker's share; every history is reported. */
async function runShare({ first, end, step }: Share, report: (report: Report) => void): Promise<void> {
  for (let seed = first; seed < end; seed += step) {
    try {
      report({ done: 1, counts: await runHistory(seed) });
    } catch (error) {
      return report({ broken: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  }
}

/** Starts a worker; resolves when it has run its share. @throws Error saying what it has found broken */
function startWorker(
  share: Share,
  onDone: (counts: ReadonlyMap<string, number>) => void,
  workers: Worker[],
): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: share });
  workers.push(worker);
  return new Promise((resolve, reject) => {
    worker.on('message', (report: Report) => {
      if ('broken' in report) reject(new Error(report.broken));
      else onDone(report.counts);
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
}

async function main(): Promise<number> {
  const { histories, seed, workers: wanted } = readArguments(process.argv.slice(2));
  const count = Math.min(wanted, histories);
  const started = performance.now();
  const totals = new Map<string, number>();
  let done = 0;
  const progress = (): void => {
    const seconds = (performance.now() - started) / 1000;
    const left = done === 0 ? '' : `, ${Math.round(((histories - done) * seconds) / done)} s to go`;
    console.log(`${done} of ${histories} histories, ${(done / seconds).toFixed(1)} a second${left}`);
  };
  const ticking = setInterval(progress, PROGRESS_MS);
  const workers: Worker[] = [];
  try {
    const shares = Array.from({ length: count }, (_, i) => ({ first: seed + i, end: seed + histories, step: count }));
    const running = shares.map((share) =>
      startWorker(
        share,
        (counts) => {
          done++;
          for (const [what, times] of counts) totals.set(what, (totals.get(what) ?? 0) + times);
        },
        workers,
      ),
    );
    await Promise.all(running);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  } finally {
    clearInterval(ticking);
    await Promise.all(workers.map((worker) => worker.terminate()));
    progress();
  }
  console.log([...totals].map(([what, times]) => `${what}: ${times}`).join('\n'));
  return 0;
}

if (isMainThread) {
  process.exitCode = await main().catch((error: unknown) => {
    if (!(error instanceof WrongArgument)) throw error;
    console.error(error.message);
    return 2;
  });
} else {
  const port = parentPort!;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- this is a worker's port, not a window
  await runShare(workerData as Share, (report) => port.postMessage(report));
}
