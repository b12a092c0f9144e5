/**
 * One storage process per data folder: two would overwrite each other's metadata.
 *
 * The lock is a file with the holder's process id. A holder that has died leaves it behind; the next one takes it over. A
 * holder that is ending (its parent was killed, say) is waited for, since it still has metadata to write.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS = 15_000;
const POLL_MS = 50;

/** What the command line of every holder contains; a recycled process id most likely belongs to something else. */
const PROCESS_MARK = /storage[/\\]process\.[jt]s/;

/** Takes the lock for this process and resolves a function that gives it back. @throws if another holder stays alive */
export async function lockFolder(dataDir: string, waitMs = WAIT_MS): Promise<() => Promise<void>> {
  const file = join(dataDir, 'storage.lock');
  const deadline = Date.now() + waitMs;
  await mkdir(dataDir, { recursive: true });
  for (;;) {
    try {
      await writeFile(file, `${process.pid}\n`, { flag: 'wx' });
      // Two that find the same dead holder may both remove its file, the slower one removing the faster one's new file:
      // so look again whose it is.
      await sleep(POLL_MS);
      if ((await holderOf(file)) === process.pid) return () => rm(file, { force: true });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const holder = await holderOf(file);
    if (holder === undefined || !isStorageProcess(holder)) await rm(file, { force: true });
    else if (Date.now() < deadline) await sleep(POLL_MS);
    else throw new Error(`the data folder ${dataDir} is in use by the storage process ${holder}: stop that one first`);
  }
}

/** The holder's process id; `undefined` if there is none, or the file was left half written. */
async function holderOf(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^\d+\n$/.test(text) ? Number(text) : undefined;
}

function isStorageProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return PROCESS_MARK.test(execFileSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' }));
  } catch {
    return true; // no `ps` to ask: rather wait for a stranger than share the folder
  }
}
