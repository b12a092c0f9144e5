import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../../shared/domain/units.ts';
import { CODEC } from '../../../shared/format/frame.ts';
import { PackBuilder } from '../../../shared/format/pack.ts';
import type { Ports } from '../../../shared/services/ports.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { putBy } from '../../support/put-by.ts';
import { type Call, fallAsleep } from '../../support/sleeper.ts';
import { leftovers } from '../../support/vault-map.ts';
import { B, block, container, live, stage, start, until } from '../../services/stage.ts';
import { completed, imageOf, transferring, whole } from './story.ts';

/** A worker of another build: the packs that it writes hold the blocks as well, but lie otherwise. */
const otherBuild = (ports: Ports): Ports =>
  putBy(ports, (real, blob, body, summary) => real.put(blob, blob.endsWith('.pack') ? otherPack(blob) : body, summary));

function otherPack(name: string): Uint8Array {
  const pack = new PackBuilder();
  for (const [i, fill] of [9, 8, 7].entries())
    pack.add({ codec: CODEC.raw, bytes: Buffer.alloc(BLOCK_BYTES, fill) }, [i]);
  return pack.finish(name);
}

/** Where a unit has just written its pack, and not yet its layer. */
const afterAPack = ({ moment, call, name }: Call): boolean =>
  moment === 'after' && call === 'vault.put' && name.endsWith('.pack');

describe('rule 5: pack names carry the run', () => {
  it('twins that cut their packs differently do not write into each other', async () => {
    const told = await transferring();
    const { world, id, unit } = told;
    const twin = await fallAsleep(otherBuild(world.ports), (ports) => runStep(ports, unit.step), afterAPack);
    expect(twin.asleep).toBe(true);
    await twin.die();
    world.queue.putBack(unit);
    await world.drain();
    await completed(told, id);
    await whole(told);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
  });

  it('the first layer of a unit stands, whatever twin comes late', async () => {
    const told = await transferring();
    const { world, id, unit } = told;
    const twin = await fallAsleep(world.ports, (ports) => runStep(ports, unit.step), afterAPack);
    expect(twin.asleep).toBe(true);
    world.queue.putBack(unit);
    await world.drain();
    const point = await completed(told, id);
    // The loser's packs are leftovers.
    expect(leftovers(container(world))).toHaveLength(1);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await twin.wake();
    expect(live(world)).toEqual([point]);
    await whole(told);
  });

  it('the source of the changes stands in the plan: no unit takes another', async () => {
    const told = await stage();
    const { world, disk, images, backUp } = told;
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const image = await imageOf(told);
    const id = await start(world);
    const unit = await until(world, 'transfer-unit');
    const [base] = await world.points('vm');
    for (const { url, snapshot } of base!.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    await runStep(world.ports, unit.step);
    await world.drain();
    const { status, point, attempts, sources } = await world.job(id);
    expect({ status, plans: attempts.length, sources: sources.map(({ source }) => source) }).toEqual({
      status: 'Completed',
      plans: 2,
      sources: ['hashes'],
    });
    images.set(point!, image);
    await whole({ world, images });
  });
});
