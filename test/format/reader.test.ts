import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { V1, V2 } from './golden-vault.ts';

/*
 * reader.py follows docs/format.md and shares no code with Strata, nor a language: that it restores the golden vaults shows that the
 * page says enough.
 */

vi.setConfig({ testTimeout: 60_000 });

const run = promisify(execFile);
const READER = path.join(import.meta.dirname, 'reader.py');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'strata-reader-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Listing {
  [item: string]: { point: string; disks: { disk: string; lun: number; sizeBytes: number }[] }[];
}

const list = async (container: string): Promise<Listing> =>
  JSON.parse((await run('python3', [READER, container])).stdout) as Listing;

describe.each([V1, V2])(
  'a reader that follows the format page and shares no code, with version $version,',
  (golden) => {
    it('finds the live points of the golden vault', async () => {
      const points = (await list(golden.container))[golden.item]!;
      expect(
        points.map(({ point, disks }) => ({ point, disks: disks.map(({ lun, sizeBytes }) => ({ lun, sizeBytes })) })),
      ).toEqual(
        golden.points.map(({ point, disks }) => ({
          point,
          disks: disks.map(({ lun, sizeBytes }) => ({ lun, sizeBytes })),
        })),
      );
    });

    it('restores every disk of every point to the known bytes', async () => {
      const points = (await list(golden.container))[golden.item]!;
      for (const [i, { point, disks }] of points.entries()) {
        const restored = await Promise.all(
          disks.map(async ({ disk }) => {
            const output = path.join(folder, `${golden.version}-${point}-${disk}`);
            await run('python3', [READER, golden.container, golden.item, point, disk, output]);
            return createHash('sha256')
              .update(await readFile(output))
              .digest('hex');
          }),
        );
        expect(restored).toEqual(golden.points[i]!.disks.map(({ sha256 }) => sha256));
      }
    });

    it('refuses a damaged vault instead of restoring something else', async () => {
      const copy = path.join(folder, `damaged-${golden.version}`);
      await cp(golden.container, copy, { recursive: true });
      const holders = (await readdir(copy, { recursive: true })).filter((name) => /\.(pack|slab)$/.test(name));
      for (const holder of holders) {
        const bytes = await readFile(path.join(copy, holder));
        bytes[40]! ^= 1;
        await writeFile(path.join(copy, holder), bytes);
      }
      const { point, disks } = (await list(copy))[golden.item]!.at(-1)!;
      const restore = run('python3', [READER, copy, golden.item, point, disks[0]!.disk, path.join(folder, 'never')]);
      await expect(restore).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/^refused: /) });
    });
  },
);
