import { createHash } from 'node:crypto';
import { type Dirent, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DemoError } from './errors.ts';

/** A file of this machine whose bytes the demo uses; it is only ever read. */
export interface RealFile {
  readonly path: string;
  readonly sizeBytes: number;
}

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
/** Where real files are taken from, in this order: what the project has installed, then the system's programs. */
const ROOTS = [join(PROJECT, 'node_modules'), '/usr/lib', '/usr/share', '/usr/bin'];
/** Thousands of small ones would take longer to read than all the rest takes; large ones would make every day the same. */
const LEAST_BYTES = 48 * 1024;
const MOST_BYTES = 6 * 2 ** 20;
/** Paths that every tool takes without quoting. */
const PLAIN_PATH = /^[\w@.+/=~-]+$/;

/**
 * Files with at least `bytes` together, in the order of their names: the same files on the same machine each time. Fewer where the
 * machine has not as many.
 * @throws DemoError when there is none
 */
export function findRealFiles(bytes: number, roots: readonly string[] = ROOTS): RealFile[] {
  const files: RealFile[] = [];
  let found = 0;
  for (const root of roots) {
    for (const file of walk(root)) {
      files.push(file);
      found += file.sizeBytes;
      if (found >= bytes) return files;
    }
  }
  if (files.length === 0) throw new DemoError(`there are no files to fill a disk with in ${roots.join(', ')}`);
  return files;
}

/** At once rather than in the background: twenty thousand small questions are answered in a fraction of the time. */
function* walk(folder: string): Generator<RealFile> {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return; // absent here, or not for us to read
  }
  // What tools keep in hidden folders comes and goes.
  const visible = entries.filter(({ name }) => !name.startsWith('.'));
  visible.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of visible) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile() && PLAIN_PATH.test(path)) {
      const file = statSync(path, { throwIfNoEntry: false });
      if (file !== undefined && file.size >= LEAST_BYTES && file.size <= MOST_BYTES && (file.mode & 0o444) !== 0)
        yield { path, sizeBytes: file.size };
    }
  }
}

/** Hands out real files one after another, and begins anew when all have been used. */
export class RealFiles {
  readonly #files: readonly RealFile[];
  #next = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(files: readonly RealFile[]) {
    this.#files = files;
  }

  next(): RealFile {
    const file = this.#files[this.#next % this.#files.length] as RealFile;
    this.#next++;
    return file;
  }

  /** Files with at least `bytes` together, and not much more: those that are large for it are passed over. */
  take(bytes: number): RealFile[] {
    const taken: RealFile[] = [];
    const largest = Math.max(bytes / 4, 2 * LEAST_BYTES);
    let passedOver = 0;
    for (let sum = 0; sum < bytes;) {
      const file = this.next();
      if (file.sizeBytes > largest && passedOver++ < this.#files.length) continue;
      taken.push(file);
      sum += file.sizeBytes;
    }
    return taken;
  }

  /** The next `count` bytes of the files' contents, one file after another. */
  async bytes(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = count; missing > 0;) {
      if (this.#rest.length === 0) this.#rest = await readFile(this.next().path);
      const part = this.#rest.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return Buffer.concat(parts);
  }
}

/** A name for the copy of a real file: its own, after a number that makes it the only one. */
export function copyName(index: number, file: RealFile): string {
  return `${String(index).padStart(5, '0')}-${basename(file.path)}`.slice(0, 200);
}

/** Numbers from 0 to 1 that look random and are the same for the same seed. */
export function seededRandom(seed: string): () => number {
  let state = createHash('sha256').update(seed).digest();
  let at = 0;
  return () => {
    if (at + 4 > state.length) {
      state = createHash('sha256').update(state).digest();
      at = 0;
    }
    at += 4;
    return state.readUInt32LE(at - 4) / 2 ** 32;
  };
}
