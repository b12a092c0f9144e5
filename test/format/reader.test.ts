import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { encodeDocument } from '../../shared/format/document.ts';
import { V1, V2, V3, goldenBlob } from './golden-vault.ts';

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

describe.each([V1, V2, V3])(
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

describe('a part of a manifest', () => {
  const { name: manifest } = goldenBlob(V3, '/17673552000000000.86e5014965866131.json');
  const { name, bytes } = goldenBlob(V3, '/17673552000000000.4523540f1504cd17.e7f6c011.000004.json');

  /** Restores the newest point's OS disk of a copy of the vault in which `change` has been made; why that was refused. */
  async function refusal(what: string, change: (copy: string) => Promise<void>): Promise<unknown> {
    const copy = path.join(folder, what);
    await cp(V3.container, copy, { recursive: true });
    await change(copy);
    const { point } = V3.points.at(-1)!;
    const output = path.join(folder, `${what}.vhd`);
    return run('python3', [READER, copy, V3.item, point, 'e7f6c011', output]).then(
      () => 'restored',
      ({ stderr }: { stderr: string }) => stderr.trim(),
    );
  }

  it('that is gone is named', async () => {
    expect(await refusal('gone', (copy) => rm(path.join(copy, name)))).toBe(`refused: ${name}: is missing`);
  });

  it('that has other contents, whole and under its own name, is not the one that the manifest names', async () => {
    const { sha256: _, regions, ...rest } = JSON.parse(bytes.toString()) as { sha256: string; regions: unknown[] };
    const other = encodeDocument(name, { ...rest, regions: regions.slice(0, 1) });
    expect(await refusal('other', (copy) => writeFile(path.join(copy, name), other))).toBe(
      `refused: ${name}: does not have the digest that its manifest says`,
    );
  });

  it('of another disk or place is not taken for it, whatever the manifest says', async () => {
    const { sha256: _, ...rest } = JSON.parse(goldenBlob(V3, manifest).bytes.toString()) as {
      sha256: string;
      disks: { parts: object[] }[];
    };
    const [os, data] = rest.disks;
    const swapped = { ...rest, disks: [{ ...os!, parts: data!.parts }, data!] };
    const why = await refusal('swapped', async (copy) => {
      const body = encodeDocument(manifest, swapped);
      await writeFile(path.join(copy, manifest), body);
      const seq = '000000000007';
      const record = `v1/items/${V3.item}/chain/${seq}.json`;
      const { sha256: __, ...old } = JSON.parse(await readFile(path.join(copy, record), 'utf8')) as {
        sha256: string;
        points: { manifest: string; sha256: string }[];
      };
      const sha256 = Buffer.from(body).toString('latin1', 11, 75);
      const points = old.points.map((entry) => (entry.manifest === manifest ? { ...entry, sha256 } : entry));
      await writeFile(path.join(copy, record), encodeDocument(record, { ...old, points }));
    });
    expect(why).toMatch(/^refused: .*\.86e5014965866131\.json: `name` is not of the form /);
  });
});
