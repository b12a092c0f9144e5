import { afterEach, describe, expect, it } from 'vitest';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { Ports } from '../../shared/services/ports.ts';
import type { Life } from '../support/life.ts';
import { type Lie, lyingDiff } from '../support/lying-diff.ts';

/** A life, and the hand of whoever writes to its disks. */
export interface LyingGround {
  readonly life: Life;
  write(url: string, offset: number, body: Uint8Array): Promise<void>;
  clear(url: string, offset: number, bytes: number): Promise<void>;
  image(url: string): Promise<Uint8Array>;
  stop(): Promise<void>;
}

export interface LyingOptions {
  /** Stands between the handlers and their ports. */
  readonly wrapHandlers: (ports: Ports) => Ports;
}

const B = BLOCK_BYTES;
const BLOCKS = 12;
/**
 * Of a disk of so few blocks the audit reads one in each backup that goes by the diff; all have been read when it has come round. An
 * omission may lie behind it, so that it has to come round first: docs/architecture.md says so for all disks.
 */
const MOST_NIGHTS = BLOCKS + 1;

/**
 * A source of changed blocks that lies, over the ports that `ground` makes. Requests must be free there, so that gaps are not read: what
 * lies in one would be found out by chance.
 */
export function lyingDiffContract(name: string, ground: (options: LyingOptions) => Promise<LyingGround>): void {
  describe(`a source of changed blocks that lies, ${name}`, () => {
    let stage: LyingGround | undefined;
    let lie: Lie | undefined;
    let versions = 0;
    afterEach(async () => {
      await stage?.stop();
      stage = undefined;
      lie = undefined;
    });

    const noise = (blocks = 1): Buffer => {
      versions++;
      return Buffer.from(Array.from({ length: blocks * B }, (_, i) => (i * versions + (i >> 8) * 7 + versions) & 0xff));
    };
    async function start(): Promise<{ own: LyingGround; disk: string }> {
      const own = await ground({
        wrapHandlers: (ports) => ({ ...ports, snapshots: lyingDiff(ports.snapshots, () => lie) }),
      });
      stage = own;
      const [disk] = await own.life.createVm('vm', [BLOCKS * B]);
      await own.life.protect('vm');
      await own.write(disk!, 0, noise(BLOCKS));
      await night(own);
      return { own, disk: disk! };
    }
    async function night({ life }: LyingGround): Promise<JobRow> {
      const job = await life.backup('vm');
      life.clock.advance(60_000);
      return job;
    }
    /** The newest point from the vault against the disk as it is. */
    async function isExact(own: LyingGround, disk: string): Promise<boolean> {
      const point = (await own.life.points('vm')).at(-1)!;
      for (const { url, snapshot } of point.set.disks) await own.life.ports.snapshots.remove({ url, id: snapshot });
      const { job, disks } = await own.life.restore('vm', point.point);
      expect(job.errors).toEqual([]);
      return Buffer.compare(disks[0]!, await own.image(disk)) === 0;
    }

    const HARMLESS: readonly (readonly [string, Lie, string])[] = [
      ['adds a range', { kind: 'adds', range: { start: 2 * B, end: 6 * B } }, 'diff'],
      ['widens to 4 MiB', { kind: 'widens' }, 'diff'],
      ['pages at one range', { kind: 'pages singly' }, 'diff'],
      ['says that the blob was overwritten', { kind: 'was overwritten' }, 'hashes'],
      ['loses the earlier snapshot in the middle', { kind: 'vanishes' }, 'hashes'],
    ];
    it.each(HARMLESS)('that %s: the point is exact and nobody is alarmed', async (_, told, source) => {
      const { own, disk } = await start();
      await own.write(disk, B, noise());
      await own.write(disk, 5 * B + 1024, noise().subarray(0, 512));
      await own.clear(disk, 9 * B, 2 * B);
      lie = told;
      const job = await night(own);
      expect(job).toMatchObject({ status: 'Completed', errors: [], sources: [{ source }] });
      expect(job.churn).toMatchObject([{ missedBytes: 0 }]);
      // Nothing but what has changed is stored again, whatever was told.
      const manifest = await (await own.life.chain('vm')).newest();
      const newest = await (await own.life.chain('vm')).manifest(manifest.points.at(-1)!);
      const layers = newest.disks[0]!.regions.flatMap(({ layers: each }) => each);
      expect(layers.reduce((sum, { dataBlocks }) => sum + dataBlocks, 0)).toBe(2);
      expect(layers.reduce((sum, { clearedBlocks }) => sum + clearedBlocks, 0)).toBe(2);
      expect(await isExact(own, disk)).toBe(true);
    });

    const OMISSIONS: readonly (readonly [string, (own: LyingGround, disk: string) => Promise<Lie>])[] = [
      [
        'a written range',
        async (own, disk) => {
          await own.write(disk, 7 * B, noise());
          return { kind: 'omits', at: 7 * B };
        },
      ],
      [
        'a cleared range',
        async (own, disk) => {
          await own.clear(disk, 7 * B, B);
          return { kind: 'forgets clears' };
        },
      ],
      [
        'a range behind the audit',
        async (own, disk) => {
          await own.write(disk, 0, noise());
          return { kind: 'omits', at: 0 };
        },
      ],
    ];
    it.each(OMISSIONS)('omission of %s is caught in time, written, and mistrusted', async (_, hide) => {
      const { own, disk } = await start();
      await night(own); // the audit has left block 0 behind
      lie = await hide(own, disk);
      expect(await night(own)).toMatchObject({ status: 'Completed' });
      lie = undefined;
      let nights = 0;
      let job: JobRow;
      do {
        job = await night(own);
        nights++;
      } while (job.status === 'Completed' && nights < MOST_NIGHTS);
      expect(job).toMatchObject({
        status: 'CompletedWithWarnings',
        errors: [{ code: 'ChangedBlocksMissed', message: expect.stringMatching(/^OS disk: 1 blocks/) }],
        sources: [{ source: 'diff' }],
        churn: [{ missedBytes: B }],
      });
      const caught = await own.life.chain('vm');
      const { disks } = await caught.manifest((await caught.newest()).points.at(-1)!);
      expect(disks[0]!.trust).toMatchObject({ misses: 1, byHashes: 1 });
      expect(await night(own)).toMatchObject({
        status: 'Completed',
        sources: [{ source: 'hashes', reason: expect.stringMatching(/left changes out/) }],
      });
      expect(await night(own)).toMatchObject({ status: 'Completed', sources: [{ source: 'diff' }] });
      expect(await isExact(own, disk)).toBe(true);
    });

    it('the point that met the omission is exact itself', async () => {
      const { own, disk } = await start();
      await own.write(disk, 2 * B, noise());
      lie = { kind: 'omits', at: 2 * B };
      for (let nights = 0; nights < MOST_NIGHTS; nights++) if ((await night(own)).status !== 'Completed') break;
      expect(await isExact(own, disk)).toBe(true);
    });

    it('a source that goes on lying is mistrusted for longer', async () => {
      const { own, disk } = await start();
      const caughtAt: number[] = [];
      const sources: string[] = [];
      for (let nights = 0; nights < 12; nights++) {
        // What the audit is going to read next is left out.
        const chain = await own.life.chain('vm');
        const { disks } = await chain.manifest((await chain.newest()).points.at(-1)!);
        const at = disks[0]!.trust!.auditedTo * B;
        await own.write(disk, at, noise());
        lie = { kind: 'omits', at };
        const job = await night(own);
        sources.push(job.sources[0]!.source);
        if (job.status === 'CompletedWithWarnings') caughtAt.push(nights);
      }
      expect(sources.join(' ')).toBe('diff hashes diff hashes hashes hashes hashes diff hashes hashes hashes hashes');
      expect(caughtAt).toEqual([0, 2, 7]);
      expect(await isExact(own, disk)).toBe(true);
    });
  });
}
