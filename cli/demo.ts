import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DemoError, DemoUsageError } from './demo/errors.ts';
import { HELP, inspectDisk, parseOptions } from './demo/options.ts';
import { type DemoPlatform, startDemoPlatform } from './demo/platform.ts';
import { reportLines } from './demo/report.ts';
import { type DemoOutcome, isAllRight, jsonOf } from './demo/result.ts';
import { openScreen, type Screen } from './demo/screen.ts';
import { LEGEND } from './demo/run.ts';
import { type DemoTask, play } from './demo/story.ts';
import { paint } from './demo/text.ts';

const EXIT_WRONG = 1;
const EXIT_USAGE = 2;
/** What shells give to a program that Ctrl-C has ended. */
const EXIT_INTERRUPTED = 130;

/** `npm run demo`: the main job on real input, for a person to watch; resolves the exit status. */
async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const given = options.disk === undefined ? undefined : await inspectDisk(options.disk);
  const screen = openScreen(process.stderr, process.env);
  const outcome = await runDemo({ ...options, given }, screen);
  if (outcome === undefined) return EXIT_INTERRUPTED;
  if (options.json) process.stdout.write(`${JSON.stringify(jsonOf(outcome), undefined, 2)}\n`);
  else {
    const colours = paint(process.stdout.isTTY && !process.env['NO_COLOR']);
    process.stdout.write(`${reportLines(outcome, options.pricePerGib, colours).join('\n')}\n`);
  }
  return isAllRight(outcome) ? 0 : EXIT_WRONG;
}

/** Undefined when it was interrupted. Nothing is left of it, however it ends. */
async function runDemo(task: DemoTask, screen: Screen): Promise<DemoOutcome | undefined> {
  const stopping = new AbortController();
  const interrupt = (): void => {
    if (stopping.signal.aborted) return;
    stopping.abort();
    screen.clear();
    screen.line('stopping');
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const startedMs = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'strata-demo-'));
  let platform: DemoPlatform | undefined;
  let lost: DemoError | undefined;
  const watch = async (failed: Promise<DemoError>): Promise<void> => {
    lost = await failed;
    stopping.abort();
  };
  const start = async (dataDir: string): Promise<DemoPlatform> => {
    platform = await startDemoPlatform(dataDir);
    void watch(platform.failed);
    return platform;
  };
  try {
    screen.line(screen.paint.bold('Strata backs up a VM for two weeks'));
    screen.line(screen.paint.dim(`  ${LEGEND}`));
    const outcome = await play(task, folder, start, screen, stopping.signal);
    await platform?.stop();
    return { ...outcome, totalSeconds: (performance.now() - startedMs) / 1000 };
  } catch (error) {
    screen.clear();
    if (lost !== undefined) throw lost;
    if (!stopping.signal.aborted) {
      for (const line of platform?.output() ?? []) screen.line(screen.paint.dim(`  platform: ${line}`));
      throw error;
    }
    return undefined;
  } finally {
    await platform?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // What a person can mend is one line; a fault of the program keeps its stack.
  const isTold = error instanceof DemoUsageError || error instanceof DemoError;
  console.error(isTold ? `error: ${error.message}` : error);
  process.exitCode = error instanceof DemoUsageError ? EXIT_USAGE : EXIT_WRONG;
}
