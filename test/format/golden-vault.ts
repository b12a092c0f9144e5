import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** The golden vault of format version 1: see its README. */
const FOLDER = path.join(import.meta.dirname, '../fixtures/vault-v1');

export const GOLDEN_CONTAINER = path.join(FOLDER, 'container');

interface Expected {
  readonly item: string;
  readonly points: readonly {
    readonly point: string;
    readonly disks: readonly { readonly lun: number; readonly sizeBytes: number; readonly sha256: string }[];
  }[];
}

/** What its live points restore to. */
export const GOLDEN = JSON.parse(readFileSync(path.join(FOLDER, 'expected.json'), 'utf8')) as Expected;

/** Its blobs by name. */
export function goldenBlobs(): Map<string, Buffer> {
  const files = readdirSync(GOLDEN_CONTAINER, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return new Map(
    files.map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      return [path.relative(GOLDEN_CONTAINER, file), readFileSync(file)];
    }),
  );
}

/** The one blob whose name contains `part`. */
export function goldenBlob(part: string): { name: string; bytes: Buffer } {
  const found = [...goldenBlobs()].filter(([name]) => name.includes(part));
  const [name, bytes] = found[0] ?? [];
  if (name === undefined || bytes === undefined || found.length !== 1)
    throw new Error(`${found.length} golden blobs are called ${part}`);
  return { name, bytes };
}
