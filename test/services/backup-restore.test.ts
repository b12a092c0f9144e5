import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { createWorld } from '../support/world.ts';

const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * BLOCK_BYTES, fill);

it('restores every point bit for bit, from the snapshot and from the vault', async () => {
  const world = await createWorld();
  const [os, data] = await world.createVm('web1', [9 * BLOCK_BYTES + 512, 6 * BLOCK_BYTES]);
  await world.disks.write(os!, 0, block(1, 3));
  await world.disks.write(data!, 4 * BLOCK_BYTES, block(7));
  await world.protect('web1');
  const images: Uint8Array[][] = [];
  const remember = async (): Promise<void> => {
    images.push(
      await Promise.all(
        [os!, data!].map((url) => world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) })),
      ),
    );
  };
  await remember();
  const first = await world.backup('web1');
  expect(first.errors).toEqual([]);
  expect(first.status).toBe('Completed');
  await world.disks.write(os!, BLOCK_BYTES, block(2));
  await world.disks.clear(os!, { start: 0, end: BLOCK_BYTES });
  await world.disks.write(os!, 9 * BLOCK_BYTES, Buffer.alloc(512, 5));
  await remember();
  const second = await world.backup('web1');
  expect(second.sources.map(({ source }) => source)).toEqual(['diff', 'diff']);

  for (const [i, { point }] of (await world.points('web1')).entries()) {
    const { job, disks } = await world.restore('web1', point);
    expect(job.errors).toEqual([]);
    expect(job.sources.map(({ source }) => source)).toEqual(['snapshot', 'snapshot']);
    expect(disks.map((bytes, d) => Buffer.compare(bytes, images[i]![d]!))).toEqual([0, 0]);
  }
  for (const { set } of await world.points('web1')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  }
  for (const [i, { point }] of (await world.points('web1')).entries()) {
    const { job, disks } = await world.restore('web1', point);
    expect(job.sources.map(({ source }) => source)).toEqual(['vault', 'vault']);
    expect(disks.map((bytes, d) => Buffer.compare(bytes, images[i]![d]!))).toEqual([0, 0]);
  }
});
