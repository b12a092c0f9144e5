import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VaultContainer, VaultContainers } from '../../shared/vault/vault-container.ts';

export interface VaultSubject {
  readonly containers: VaultContainers;
  close(): Promise<void>;
}

/** What every implementation of VaultContainers promises. */
export function vaultContainerContract(implementation: string, start: () => Promise<VaultSubject>): void {
  describe(`vault container: ${implementation}`, () => {
    let subject: VaultSubject;
    let vault: VaultContainer;
    beforeAll(async () => {
      subject = await start();
      vault = await subject.containers.open('vault-one');
    });
    afterAll(() => subject?.close());

    it('gives back what was put, whole and in part', async () => {
      const body = patterned(100_000);
      await vault.put('parts/pack', body);
      expect(await vault.readWhole('parts/pack')).toEqual(body);
      expect(await vault.read('parts/pack', 0, 1)).toEqual(body.subarray(0, 1));
      expect(await vault.read('parts/pack', 33_333, 12_345)).toEqual(body.subarray(33_333, 45_678));
      expect(await vault.read('parts/pack', 99_999, 1)).toEqual(body.subarray(99_999));
      expect(await vault.read('parts/pack', 50, 0)).toEqual(new Uint8Array(0));
      const used = new Uint8Array(20_000).fill(7);
      expect(Uint8Array.from(await vault.read('parts/pack', 33_333, 12_345, used))).toEqual(
        body.subarray(33_333, 45_678),
      );
    });

    it('keeps a pack of 9 MiB exactly', async () => {
      const body = patterned(9 * 1_048_576 + 7);
      await vault.put('parts/large', body);
      expect(Buffer.compare(await vault.readWhole('parts/large'), body)).toBe(0);
      const part = await vault.read('parts/large', 1_000_001, 8_388_608);
      expect(Buffer.compare(part, body.subarray(1_000_001, 9_388_609))).toBe(0);
    });

    it('does not share bytes with its callers', async () => {
      const body = patterned(10);
      await vault.put('parts/own', body);
      body.fill(0);
      (await vault.readWhole('parts/own')).fill(9);
      expect(await vault.readWhole('parts/own')).toEqual(patterned(10));
    });

    it('keeps an empty blob', async () => {
      await vault.put('parts/empty', new Uint8Array(0));
      expect(await vault.readWhole('parts/empty')).toEqual(new Uint8Array(0));
      expect(await vault.stat('parts/empty')).toEqual({ name: 'parts/empty', sizeBytes: 0, summary: {} });
      await expect(vault.read('parts/empty', 0, 1)).rejects.toMatchObject({ code: 'PackCorrupt' });
    });

    it('never overwrites', async () => {
      await vault.put('once', patterned(10), { by: 'first' });
      const second = vault.put('once', patterned(20), { by: 'second' });
      await expect(second).rejects.toMatchObject({ code: 'BlobAlreadyExists' });
      expect(await vault.readWhole('once')).toEqual(patterned(10));
      expect((await vault.stat('once'))?.summary).toEqual({ by: 'first' });
    });

    it('lets exactly one of many writers win', async () => {
      const tries = Array.from({ length: 8 }, (_, n) => vault.put('race', Uint8Array.of(n)));
      const outcomes = await Promise.allSettled(tries);
      const winners = outcomes.flatMap(({ status }, n) => (status === 'fulfilled' ? [n] : []));
      expect(winners).toHaveLength(1);
      expect(await vault.readWhole('race')).toEqual(Uint8Array.of(winners[0] ?? -1));
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'BlobAlreadyExists' });
      }
    });

    it('says that a blob is shorter than expected', async () => {
      await vault.put('short', patterned(100));
      for (const [offset, length] of [
        [0, 101],
        [90, 11],
        [100, 1],
        [5_000, 1],
      ] as const) {
        await expect(vault.read('short', offset, length)).rejects.toMatchObject({
          code: 'PackCorrupt',
          target: 'short',
        });
      }
    });

    it('tells absence from presence', async () => {
      expect(await vault.stat('absent')).toBeUndefined();
      await expect(vault.read('absent', 0, 1)).rejects.toMatchObject({ code: 'BlobNotFound', target: 'absent' });
      await expect(vault.readWhole('absent')).rejects.toMatchObject({ code: 'BlobNotFound' });
      await vault.delete('absent');
    });

    it('deletes, and lets the name be put again', async () => {
      await vault.put('gone', patterned(5));
      await vault.delete('gone');
      await vault.delete('gone');
      expect(await vault.stat('gone')).toBeUndefined();
      await vault.put('gone', patterned(6));
      expect((await vault.stat('gone'))?.sizeBytes).toBe(6);
    });

    it('keeps the summary beside the bytes', async () => {
      const summary = { livebytes: '12345678901234', empty_as_can_be: '0', text: `a<b>&"c';=, %20 d` };
      await vault.put('summed/up', patterned(3), summary);
      expect(await vault.stat('summed/up')).toEqual({ name: 'summed/up', sizeBytes: 3, summary });
      expect(await all(vault.list('summed/'))).toEqual([{ name: 'summed/up', sizeBytes: 3, summary }]);
    });

    it('puts a blob together from parts of others and own bytes', async () => {
      const old = patterned(300_000);
      await vault.put('assembled/a (1)%', old);
      await vault.put('assembled/b', patterned(50));
      const own = Uint8Array.from([1, 2, 3]);
      const assembly = await vault.assemble(
        'assembled/whole',
        [
          { bytes: own },
          { from: 'assembled/a (1)%', offset: 250_000, length: 50_000 },
          { from: 'assembled/b', offset: 0, length: 50 },
          { from: 'assembled/a (1)%', offset: 1, length: 1 },
          { from: 'assembled/b', offset: 50, length: 0 },
          { bytes: new Uint8Array(0) },
          { bytes: own.subarray(1) },
        ],
        { stored: '5' },
      );
      const expected = Buffer.concat([own, old.subarray(250_000), patterned(50), old.subarray(1, 2), own.subarray(1)]);
      expect(Buffer.compare(await vault.readWhole('assembled/whole'), expected)).toBe(0);
      expect(await vault.stat('assembled/whole')).toEqual({
        name: 'assembled/whole',
        sizeBytes: expected.length,
        summary: { stored: '5' },
      });
      expect(assembly).toMatchObject({ through: 'storage', bytesMoved: 0 });
      // What it was made of may go; what it was not made of is as it was.
      await vault.delete('assembled/a (1)%');
      expect(Buffer.compare(await vault.readWhole('assembled/whole'), expected)).toBe(0);
      expect(await vault.readWhole('assembled/b')).toEqual(patterned(50));
    });

    it('never overwrites by putting together, and lets exactly one of many win', async () => {
      await vault.put('assembling/source', patterned(1_000));
      await vault.put('assembling/standing', patterned(7));
      const again = vault.assemble('assembling/standing', [{ from: 'assembling/source', offset: 0, length: 9 }]);
      await expect(again).rejects.toMatchObject({ code: 'BlobAlreadyExists', target: 'assembling/standing' });
      expect(await vault.readWhole('assembling/standing')).toEqual(patterned(7));

      const tries = Array.from({ length: 6 }, (_, n) =>
        vault.assemble('assembling/race', [
          { bytes: Uint8Array.of(n) },
          { from: 'assembling/source', offset: n, length: 100 },
          { bytes: Uint8Array.of(n) },
        ]),
      );
      const outcomes = await Promise.allSettled(tries);
      const winners = outcomes.flatMap(({ status }, n) => (status === 'fulfilled' ? [n] : []));
      expect(winners.length).toBe(1);
      const [n] = winners;
      expect(Buffer.from(await vault.readWhole('assembling/race'))).toEqual(
        Buffer.concat([Uint8Array.of(n!), patterned(1_000).subarray(n, n! + 100), Uint8Array.of(n!)]),
      );
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'BlobAlreadyExists' });
      }
    });

    it('says which source is missing or short, and leaves nothing to be seen', async () => {
      await vault.put('unmade/short', patterned(100));
      const own = { bytes: patterned(5) };
      await expect(
        vault.assemble('unmade/x', [own, { from: 'unmade/absent', offset: 0, length: 10 }]),
      ).rejects.toMatchObject({ code: 'BlobNotFound', target: 'unmade/absent' });
      for (const [offset, length] of [
        [0, 101],
        [90, 20],
        [100, 1],
        [5_000, 1],
      ] as const) {
        await expect(vault.assemble('unmade/x', [own, { from: 'unmade/short', offset, length }])).rejects.toMatchObject(
          {
            code: 'PackCorrupt',
            target: 'unmade/short',
          },
        );
      }
      expect(await vault.stat('unmade/x')).toBeUndefined();
      expect((await all(vault.list('unmade/'))).map(({ name }) => name)).toEqual(['unmade/short']);
      // What a failed run has staged does not get into the way of the next one.
      await vault.assemble('unmade/x', [own, { from: 'unmade/short', offset: 90, length: 10 }]);
      expect(Buffer.from(await vault.readWhole('unmade/x'))).toEqual(
        Buffer.concat([patterned(5), patterned(100).subarray(90)]),
      );
      await vault.assemble('unmade/empty', []);
      expect(await vault.readWhole('unmade/empty')).toEqual(new Uint8Array(0));
    });

    it('lists what begins with a prefix, in ascending order', async () => {
      const names = ['l/10', 'l/9', 'l/a', 'l/B', 'l/a.b', 'l/a-b', 'l/a/b', 'l/ab', 'l/', 'l/a;b', 'm/1'];
      for (const name of names) await vault.put(name, patterned(1));
      const expected = names.filter((name) => name.startsWith('l/')).sort();
      expect((await all(vault.list('l/'))).map(({ name }) => name)).toEqual(expected);
      expect((await all(vault.list('l/a'))).map(({ name }) => name)).toEqual([
        'l/a',
        'l/a-b',
        'l/a.b',
        'l/a/b',
        'l/a;b',
        'l/ab',
      ]);
      expect(await all(vault.list('nothing/'))).toEqual([]);
    });

    it('takes names as they are', async () => {
      const names = [
        'VM;iaasvmcontainerv2;rg;vm',
        'größe',
        'диск',
        '磁盘',
        'a b',
        'a%20b',
        'a+b',
        'a#b',
        'a?b=c',
        'a&b',
        "a'b",
        'a"b',
      ];
      for (const name of names) await vault.put(`names/${name}/x`, Buffer.from(name));
      for (const name of names) {
        expect(Buffer.from(await vault.readWhole(`names/${name}/x`)).toString()).toBe(name);
        expect((await all(vault.list(`names/${name}/`))).map((blob) => blob.name)).toEqual([`names/${name}/x`]);
      }
      const listed = (await all(vault.list('names/'))).map(({ name }) => name);
      const byBytes = names
        .map((name) => `names/${name}/x`)
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(listed).toEqual(byBytes);
      await vault.put('names/Case', patterned(1));
      expect(await vault.stat('names/case')).toBeUndefined();
    });

    it('lists on while what it lists is deleted', async () => {
      for (let n = 0; n < 30; n++) await vault.put(`going/${n + 10}`, patterned(1));
      const met: string[] = [];
      for await (const { name } of vault.list('going/')) {
        met.push(name);
        await vault.delete(name);
      }
      expect(met).toHaveLength(30);
      expect(await all(vault.list('going/'))).toEqual([]);
    });

    it('lists the folders right below a prefix, and what lies there itself not', async () => {
      const names = ['f/b/1', 'f/b/2', 'f/a/1/deep', 'f/a.b/1', 'f/a-b/1', 'f/file', 'f/größe/1', 'f2/x/1', 'f/ä'];
      for (const name of names) await vault.put(name, patterned(1));
      expect(await all(vault.folders('f/'))).toEqual(['f/a-b/', 'f/a.b/', 'f/a/', 'f/b/', 'f/größe/']);
      expect(await all(vault.folders('f/a/'))).toEqual(['f/a/1/']);
      expect(await all(vault.folders('f/b/'))).toEqual([]);
      expect(await all(vault.folders('none/'))).toEqual([]);
    });

    it('tells which containers vaults may have', async () => {
      await subject.containers.open('vault-listed-2');
      await subject.containers.open('other-container');
      await subject.containers.open('vault-listed-1');
      const found = await all(subject.containers.list());
      expect(found.filter((name) => name.startsWith('vault-listed'))).toEqual(['vault-listed-1', 'vault-listed-2']);
      expect(found).not.toContain('other-container');
    });

    it('keeps containers apart and finds them again', async () => {
      const other = await subject.containers.open('vault-two');
      await vault.put('apart', patterned(1));
      expect(await other.stat('apart')).toBeUndefined();
      const again = await subject.containers.open('vault-one');
      expect((await again.stat('apart'))?.sizeBytes).toBe(1);
    });

    it('drops a container; what is asked of it then is no missing blob', async () => {
      const doomed = await subject.containers.open('vault-doomed');
      await doomed.put('x', patterned(1));
      await subject.containers.drop('vault-doomed');
      await subject.containers.drop('vault-doomed');
      const missing = { code: 'ResourceNotFound' };
      await expect(doomed.readWhole('x')).rejects.toMatchObject(missing);
      await expect(doomed.read('x', 0, 1)).rejects.toMatchObject(missing);
      await expect(doomed.stat('x')).rejects.toMatchObject(missing);
      await expect(doomed.put('y', patterned(1))).rejects.toMatchObject(missing);
      await expect(doomed.assemble('y', [{ bytes: patterned(1) }])).rejects.toMatchObject(missing);
      await expect(doomed.assemble('y', [{ from: 'x', offset: 0, length: 1 }])).rejects.toMatchObject(missing);
      await expect(doomed.delete('x')).rejects.toMatchObject(missing);
      await expect(all(doomed.list(''))).rejects.toMatchObject(missing);
      await expect(all(doomed.folders('x/'))).rejects.toMatchObject(missing);
      const reopened = await subject.containers.open('vault-doomed');
      expect(await all(reopened.list(''))).toEqual([]);
    });

    it.each(['ab', 'Vault', 'a--b', '-ab', 'a_b', 'x'.repeat(64)])('refuses the container name %s', async (name) => {
      await expect(subject.containers.open(name)).rejects.toMatchObject({ code: 'InvalidResourceName' });
    });
  });
}

export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Bytes that show where they were cut. */
export function patterned(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + (i >>> 16)) & 0xff;
  return bytes;
}
