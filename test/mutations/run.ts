import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Edit, Mutation } from './mutation.ts';
import { MUTATIONS } from './mutations.ts';

/*
 * Shows that the tests bite: each mutation is made in a copy of the project, and the tests that it names must fail there. A mutation
 * that cannot be made, or whose tests are not there to fail, counts as not noticed. Without arguments all are tried, else those
 * whose names contain one of the arguments. With --check none is tried: it says which of them cannot be made any more.
 *
 *     node test/mutations/run.ts [--check] [part of a name ...]
 */

const ROOT = path.join(import.meta.dirname, '../..');
const AT_ONCE = 2;
/** A mutation may make a test wait for something that never comes: that too is noticed. */
const MOST_MS = 90_000;
/** All tests that are named, without a mutation: how long they may take on a machine that has other work. */
const UNMUTATED_MS = 1_800_000;

type Outcome = 'killed' | 'timed out' | 'SURVIVED' | 'NOT APPLIED';

async function copyProject(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'strata-mutation-'));
  for (const part of ['cli', 'shared', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    await cp(path.join(ROOT, part), path.join(folder, part), { recursive: true });
  }
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  return folder;
}

/** A test that was run, and how it ended. */
interface Ran {
  readonly fullName: string;
  readonly status: 'passed' | 'failed';
  readonly failureMessages: readonly string[];
}

interface Results {
  readonly tests: readonly Ran[];
  /** What failed besides tests: files that did not load. */
  readonly broken: boolean;
  readonly output: string;
}

/** Runs the tests in the copy, of these only those whose names contain `only`; undefined when they did not end. */
async function runTests(
  folder: string,
  tests: readonly string[],
  { only, mostMs }: { only?: string | undefined; mostMs: number },
): Promise<Results | undefined> {
  const vitest = path.join(folder, 'node_modules/vitest/vitest.mjs');
  const report = path.join(folder, 'results.json');
  await rm(report, { force: true });
  const child = spawn(
    process.execPath,
    [
      vitest,
      'run',
      '--project=unit',
      '--bail=1',
      '--maxWorkers=1',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...(only === undefined ? [] : ['-t', only.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')]),
      ...tests.map((test) => path.join('test', test)),
    ],
    {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output += text.toString()));
  const ended = await new Promise<boolean>((resolve, reject) => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, mostMs);
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(!timedOut);
    });
  });
  return ended ? readResults(report, output) : undefined;
}

async function readResults(report: string, output: string): Promise<Results> {
  let text: string;
  try {
    text = await readFile(report, 'utf8');
  } catch {
    return { tests: [], broken: true, output };
  }
  const { testResults } = JSON.parse(text) as {
    testResults: { status: string; assertionResults: (Omit<Ran, 'status'> & { status: string })[] }[];
  };
  const tests = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter((each): each is Ran => each.status === 'passed' || each.status === 'failed');
  const failed = tests.some(({ status }) => status === 'failed');
  return { tests, broken: !failed && testResults.some(({ status }) => status === 'failed'), output };
}

/** Makes one edit after another; undefined when what is to be found does not stand exactly once. */
function edited(source: string, edits: readonly Edit[]): string | undefined {
  let text: string | undefined = source;
  for (const { find, replace } of edits) {
    if (text?.split(find).length !== 2) return undefined;
    text = text.replace(find, () => replace);
  }
  return text;
}

async function tryMutation(folder: string, mutation: Mutation): Promise<Outcome> {
  const { file, tests, only, also = [] } = mutation;
  const target = path.join(folder, file);
  const source = await readFile(target, 'utf8');
  const mutated = edited(source, [mutation, ...also]);
  if (mutated === undefined) return 'NOT APPLIED';
  await writeFile(target, mutated);
  try {
    const results = await runTests(folder, tests, { only, mostMs: MOST_MS });
    if (results === undefined) return 'timed out';
    const failed = results.tests.filter(({ status }) => status === 'failed');
    // A file that does not load fails every test, and a name that is not there fails whoever comes by: that would prove nothing.
    const proves = !failed.some(({ failureMessages }) => /SyntaxError|ReferenceError/.test(failureMessages.join()));
    if (results.broken || results.tests.length === 0 || !proves) return 'NOT APPLIED';
    return failed.length > 0 ? 'killed' : 'SURVIVED';
  } finally {
    await writeFile(target, source);
  }
}

/** The mutations whose filter picks none of the tests that they name. */
function withoutTests(chosen: readonly Mutation[], { tests }: Results): Mutation[] {
  return chosen.filter(({ only }) => only !== undefined && !tests.some(({ fullName }) => fullName.includes(only)));
}

/** Says which of `chosen` cannot be made: the code that they change has changed. */
async function check(chosen: readonly Mutation[]): Promise<number> {
  let stale = 0;
  for (const mutation of chosen) {
    const source = await readFile(path.join(ROOT, mutation.file), 'utf8');
    if (edited(source, [mutation, ...(mutation.also ?? [])]) !== undefined) continue;
    stale++;
    console.error(`NOT APPLIED: ${mutation.name} (${mutation.file}): ${mutation.find}`);
  }
  console.log(`${chosen.length - stale} of ${chosen.length} mutations can be made`);
  return stale === 0 && chosen.length > 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values, positionals: wanted } = parseArgs({
    options: { check: { type: 'boolean' } },
    allowPositionals: true,
  });
  const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
  if (values.check === true) return check(chosen);
  const waiting = [...chosen];
  const bad: string[] = [];
  const worker = async (): Promise<void> => {
    const folder = await copyProject();
    try {
      for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
        const started = performance.now();
        const outcome = await tryMutation(folder, mutation);
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        console.log(`${outcome.padEnd(11)} ${seconds.padStart(5)} s  ${mutation.name}`);
        if (outcome !== 'killed' && outcome !== 'timed out')
          bad.push(`${outcome}: ${mutation.name} (${mutation.file}): ${mutation.why}`);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  const unmutated = await copyProject();
  try {
    const results = await runTests(unmutated, [...new Set(chosen.flatMap(({ tests }) => tests))], {
      mostMs: UNMUTATED_MS,
    });
    if (results === undefined || results.broken || results.tests.some(({ status }) => status === 'failed')) {
      console.error(`the tests fail without any mutation:\n${results?.output ?? 'they did not end'}`);
      return 1;
    }
    const lost = withoutTests(chosen, results);
    for (const { name, only } of lost) console.error(`${name}: no test is named '${only}'`);
    if (lost.length > 0) return 1;
  } finally {
    await rm(unmutated, { recursive: true, force: true });
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  console.log(`${chosen.length - bad.length} of ${chosen.length} mutations were noticed`);
  for (const line of bad) console.error(line);
  return bad.length === 0 && chosen.length > 0 ? 0 : 1;
}

process.exitCode = await main();
