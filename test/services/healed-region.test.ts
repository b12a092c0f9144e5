import { expect, it } from 'vitest';
import { pointsPartition } from '../../shared/services/keys.ts';
import { liveManifests, newestRecord } from '../support/vault-map.ts';
import { DAY_MS } from '../support/world.ts';
import { B, block, container, stage } from './stage.ts';
import { findings, verify } from './verify-stage.ts';

for (const [kind, ending] of [
  ['layer', '.layer'],
  ['pack', '.pack'],
]) {
  it(`a region whose damaged ${kind} was healed folds again once nobody shows the damage`, async () => {
    const { world, disk, backUp } = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
    await world.disks.write(disk, 0, block(1, 5));
    await backUp(1);
    const blobs = container(world);
    const name = [...blobs.keys()].find((each) => each.endsWith(ending!))!;
    const body = Buffer.from(blobs.get(name)!.body);
    body[kind === 'layer' ? 100 : 20]! ^= 0xff;
    blobs.set(name, { ...blobs.get(name)!, body });
    await verify(world);
    const lengths: number[] = [];
    for (let night = 0; night < 12; night++) {
      await world.disks.write(disk, (night % 5) * B, block(10 + night));
      await backUp(1);
      world.clock.advance(2 * DAY_MS);
      await world.cleanUp();
      await verify(world);
      const manifests = liveManifests(blobs);
      lengths.push(manifests.flatMap(({ disks }) => disks.flatMap(({ regions }) => regions[0]?.layers ?? [])).length);
    }
    const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(blobs).item);
    expect.soft(await findings({ world, partition })).toEqual([]);
    expect(lengths.at(-1), lengths.join(' ')).toBeLessThanOrEqual(5);
  });
}
