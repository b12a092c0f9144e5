import { describe, expect, it } from 'vitest';
import type { DiskId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { damageOf } from '../../shared/services/findings.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { type World, createWorld } from '../support/world.ts';
import { block } from './stage.ts';
import { type SmallVault, findings, verify } from './verify-stage.ts';

/* A source of changed blocks that lies: what the vault has is compared with the snapshot that still lives. */

/** Ports whose source of changed blocks leaves the first range out: a lie by omission. */
const lying = (ports: Ports): Ports => ({
  ...ports,
  snapshots: {
    ...ports.snapshots,
    async *changed(snapshot, since, window) {
      let isFirst = true;
      for await (const range of ports.snapshots.changed(snapshot, since, window)) {
        if (!isFirst) yield range;
        isFirst = false;
      }
    },
  },
});

describe('against the living snapshot', () => {
  const lie = async (): Promise<{
    world: World;
    vault: Pick<SmallVault, 'world' | 'partition'>;
    disk: string;
    point: string;
  }> => {
    // Requests are free, so that gaps are not read: what lies in one would be found out by the backup itself.
    const sourceRates = { requestsPerSecond: 1e9, bytesPerSecond: 1 };
    const world = await createWorld({ wrap: lying, regionBytes: 8 * BLOCK_BYTES, sourceRates });
    const [disk] = await world.createVm('vm', [12 * BLOCK_BYTES]);
    await world.protect('vm');
    await world.disks.write(disk!, 0, block(1, 7));
    await world.backup('vm');
    await world.disks.write(disk!, 2 * BLOCK_BYTES, block(2));
    await world.disks.write(disk!, 5 * BLOCK_BYTES, block(3));
    const { point } = await world.backup('vm');
    const partition = `${world.vaults.containerNames()[0]}|${(await world.chain('vm')).item}`;
    return { world, vault: { world, partition }, disk: disk!, point: point! };
  };

  it('a changed block that the source concealed is found, and asked for again', async () => {
    const { world, vault, point } = await lie();
    await verify(world);
    const found = await findings(vault);
    expect(found).toMatchObject([
      {
        kind: 'view',
        code: 'ViewDiffers',
        region: 0,
        runs: [{ start: 2, count: 1 }],
        points: [point],
        newestIsSound: false,
      },
    ]);
    const [row] = found;
    expect(await damageOf(world.ports, vault.partition, row!.disk as DiskId)).toEqual(
      new Map([[0, { whole: false, runs: [{ start: 2, count: 1 }] }]]),
    );
    await world.backup('vm');
    await verify(world);
    expect(await findings(vault)).toMatchObject([{ kind: 'view', points: [point], newestIsSound: true }]);
  });

  it('a region of which no layer speaks is compared too', async () => {
    const { world, vault, disk } = await lie();
    await world.disks.write(disk, 8 * BLOCK_BYTES, block(9));
    const { point } = await world.backup('vm');
    await verify(world);
    const regions = (await findings(vault))
      .filter(({ points }) => points.includes(point!))
      .map(({ region, runs }) => ({ region, runs }));
    expect(regions).toContainEqual({ region: 1, runs: [{ start: 0, count: 1 }] });
  });

  it('a drill compares what it restored', async () => {
    const { world, vault, point } = await lie();
    const urls = world.disks.urls();
    const job = await verify(world, { deepBytes: 0, drill: 'latest' });
    expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'VaultDamaged' }] });
    expect(await findings(vault)).toMatchObject([
      { kind: 'drill', region: 0, runs: [{ start: 2, count: 1 }], points: [point] },
    ]);
    expect(world.disks.urls()).toEqual(urls);
  });
});
