import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import type { DiskId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { damageOf, openFindings, recordFailure } from '../../shared/services/findings.ts';
import { DAY_MS } from '../support/world.ts';
import { block, vaultOnly } from './stage.ts';
import { PACKS, SLABS, findings, harm, smallVault, verify } from './verify-stage.ts';

describe('what a backup has to write again', () => {
  it('blocks that the newest point shows; once they are covered, the finding is for old points alone', async () => {
    const vault = await smallVault({}, PACKS);
    const { world, disk, partition } = vault;
    harm(vault, /000001\..*\.pack$/);
    await verify(world);
    const [row] = await findings(vault);
    const id = row!.disk as DiskId;
    expect(row).toMatchObject({ kind: 'blocks', newestIsSound: false, name: expect.any(String), lun: -1 });
    expect(await damageOf(world.ports, partition, id)).toEqual(new Map([[1, { whole: false, runs: row!.runs }]]));
    const lost = row!.runs;
    for (const { start, count } of lost) await world.disks.write(disk, (16 + start) * BLOCK_BYTES, block(77, count));
    const image = await world.disks.read(disk, { start: 0, end: 30 * BLOCK_BYTES });
    const { point } = await world.backup('vm', world.clock.now() + 90 * DAY_MS);
    expect(await damageOf(world.ports, partition, id)).toEqual(new Map());
    expect(await findings(vault)).toMatchObject([{ newestIsSound: true, points: row!.points }]);
    await verify(world);
    expect(await findings(vault)).toMatchObject([{ newestIsSound: true, points: row!.points, runs: lost }]);
    await vaultOnly(world);
    const { disks } = await world.restore('vm', point!);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  });

  it.each([
    ['blocks in a pack', /000001\..*\.pack$/, PACKS],
    ['a layer', /000000\.[0-9a-f]{16}\.layer$/, PACKS],
    ['frames and layers in a slab', /\.slab$/, SLABS],
  ])(
    'what is lost of %s comes back with the next backup, though nothing has changed on the disk',
    async (_, pattern, shape) => {
      const vault = await smallVault({}, shape);
      const { world, disk } = vault;
      harm(vault, pattern);
      await verify(world);
      const before = await findings(vault);
      expect(before.some(({ newestIsSound }) => !newestIsSound)).toBe(true);
      const { point, status } = await world.backup('vm', world.clock.now() + 90 * DAY_MS);
      expect(status).toBe('Completed');
      await verify(world);
      const after = await findings(vault);
      expect(after.every(({ newestIsSound, points }) => newestIsSound && !points.includes(point!))).toBe(true);
      expect(after.map(({ points }) => points)).toEqual(before.map(({ points }) => points));
      const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
      await vaultOnly(world);
      const { disks } = await world.restore('vm', point!);
      expect(Buffer.compare(disks[0]!, image)).toBe(0);
    },
  );

  it('the whole region, where a layer cannot be read', async () => {
    const vault = await smallVault({}, PACKS);
    harm(vault, /000000\.[0-9a-f]{16}\.layer$/);
    await verify(vault.world);
    const [row] = await findings(vault);
    expect(row).toMatchObject({ kind: 'layer', region: 0, runs: [] });
    expect(await damageOf(vault.world.ports, vault.partition, row!.disk as DiskId)).toEqual(
      new Map([[0, { whole: true, runs: [{ start: 0, count: 16 }] }]]),
    );
  });

  it('damage that a job met is kept as it is known, and verify says the rest', async () => {
    const vault = await smallVault({}, PACKS);
    const { world, partition } = vault;
    const { name } = harm(vault, /000001\..*\.pack$/);
    const disk = {
      disk: (await world.chain('vm').then((chain) => chain.newest().then((record) => chain.manifests(record))))[0]!
        .disks[0]!.disk,
    };
    const error = new BackupError('PackCorrupt', `${name} is not what it was`, { target: name });
    const [point] = vault.images.keys();
    expect(await recordFailure(world.ports, partition, error, { disk, region: 1, point: point! })).toBe(true);
    expect(await recordFailure(world.ports, partition, new Error('else'), { disk, region: 1 })).toBe(false);
    expect(await findings(vault)).toMatchObject([{ kind: 'blocks', object: name, runs: [], points: [point] }]);
    await verify(world, { deepBytes: 1 });
    const exact = await findings(vault);
    expect(exact).toHaveLength(1);
    expect(exact[0]!.runs.length).toBeGreaterThan(0);
    world.clock.advance(1000);
    await recordFailure(world.ports, partition, error, { disk, region: 1, point: point! });
    expect(await openFindings(world.ports, partition)).toMatchObject([
      { row: { runs: exact[0]!.runs, points: exact[0]!.points } },
    ]);
  });
});
