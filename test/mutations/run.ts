import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { MUTATIONS, type Mutation } from './mutations.ts';

/*
 * Shows that the tests bite: each mutation is made in a copy of the project, and the tests that it names must fail there. Without
 * arguments all are tried, else those whose names contain one of the arguments.
 *
 *     node test/mutations/run.ts [part of a name ...]
 */

const ROOT = path.join(import.meta.dirname, '../..');
const AT_ONCE = 2;
/** A mutation may make a test wait for something that never comes: that too is noticed. */
const MOST_MS = 90_000;

type Outcome = 'killed' | 'timed out' | 'SURVIVED' | 'NOT APPLIED';

async function copyProject(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'strata-mutation-'));
  for (const part of ['shared', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    await cp(path.join(ROOT, part), path.join(folder, part), { recursive: true });
  }
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  return folder;
}

/** Runs the tests in the copy; resolves the exit code and what was printed, or undefined when they did not end. */
function runTests(folder: string, tests: readonly string[]): Promise<{ code: number; output: string } | undefined> {
  const vitest = path.join(folder, 'node_modules/vitest/vitest.mjs');
  const files = tests.map((test) => path.join('test', test));
  const child = spawn(
    process.execPath,
    [vitest, 'run', '--project', 'unit', '--bail', '1', '--maxWorkers', '1', ...files],
    {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output += text.toString()));
  return new Promise((resolve, reject) => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, MOST_MS);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(timedOut ? undefined : { code: code ?? 1, output });
    });
  });
}

async function tryMutation(folder: string, { file, find, replace, tests }: Mutation): Promise<Outcome> {
  const target = path.join(folder, file);
  const source = await readFile(target, 'utf8');
  if (source.split(find).length !== 2) return 'NOT APPLIED';
  await writeFile(
    target,
    source.replace(find, () => replace),
  );
  try {
    const result = await runTests(folder, tests);
    if (result === undefined) return 'timed out';
    // A file that does not load fails every test: that would prove nothing.
    if (/SyntaxError|Transform failed|ReferenceError|no tests/i.test(result.output)) return 'NOT APPLIED';
    return result.code === 0 ? 'SURVIVED' : 'killed';
  } finally {
    await writeFile(target, source);
  }
}

async function main(): Promise<number> {
  const wanted = process.argv.slice(2);
  const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
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
    const result = await runTests(unmutated, [...new Set(chosen.flatMap(({ tests }) => tests))]);
    if (result?.code !== 0) {
      console.error(`the tests fail without any mutation:\n${result?.output ?? 'they did not end'}`);
      return 1;
    }
  } finally {
    await rm(unmutated, { recursive: true, force: true });
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  console.log(`${chosen.length - bad.length} of ${chosen.length} mutations were noticed`);
  for (const line of bad) console.error(line);
  return bad.length === 0 && chosen.length > 0 ? 0 : 1;
}

process.exitCode = await main();
