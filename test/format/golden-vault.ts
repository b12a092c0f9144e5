import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** A golden vault: see the README beside it. */
export interface GoldenVault {
  /** Of the format. */
  readonly version: number;
  /** A folder with one file for each blob, by name. */
  readonly container: string;
  /** The item whose points they are. */
  readonly item: string;
  /** What its live points restore to. */
  readonly points: readonly {
    readonly point: string;
    readonly disks: readonly { readonly lun: number; readonly sizeBytes: number; readonly sha256: string }[];
  }[];
}

function goldenVault(version: number): GoldenVault {
  const folder = path.join(import.meta.dirname, `../fixtures/vault-v${version}`);
  const expected = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')) as Pick<
    GoldenVault,
    'item' | 'points'
  >;
  return { version, container: path.join(folder, 'container'), ...expected };
}

export const V1 = goldenVault(1);
export const V2 = goldenVault(2);
export const V3 = goldenVault(3);

/** Its blobs by name. */
export function goldenBlobs({ container }: GoldenVault): Map<string, Buffer> {
  const files = readdirSync(container, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      return [path.relative(container, file), readFileSync(file)];
    }),
  );
}

/** The one blob whose name contains `part`. */
export function goldenBlob(vault: GoldenVault, part: string): { name: string; bytes: Buffer } {
  const found = [...goldenBlobs(vault)].filter(([name]) => name.includes(part));
  const [name, bytes] = found[0] ?? [];
  if (name === undefined || bytes === undefined || found.length !== 1)
    throw new Error(`${found.length} blobs of golden vault ${vault.version} are called ${part}`);
  return { name, bytes };
}
