import { BLOCK_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import { type AttachedDisk, placeOf } from '../../shared/compute/compute.ts';
import { isManagedDisk } from '../../shared/disk/managed-ids.ts';
import { type Machine, MOST_BLOCKS, type Scene, itemOf, machineOf } from './scene.ts';

/* What VMs and their administrators do to disks. */

const MOST_DISKS = 4;

/** One of the VM's disks is written, cleared or resized. */
export async function writeDisk(scene: Scene, vm: Machine): Promise<void> {
  const { random, world } = scene;
  const url = placeOf(random.pick((await machineOf(scene, vm)).disks))!;
  const size = world.disks.sizeBytes(url);
  const start = random.between(0, size / SECTOR_BYTES - 1) * SECTOR_BYTES;
  const end = Math.min(size, start + random.between(1, 100) * SECTOR_BYTES);
  const roll = random.next();
  if (roll < 0.55) await world.disks.write(url, start, Buffer.alloc(end - start, random.between(0, 5)));
  else if (roll < 0.85) await world.disks.clear(url, { start, end });
  else await world.disks.resize(url, random.between(1, (MOST_BLOCKS * BLOCK_BYTES) / SECTOR_BYTES) * SECTOR_BYTES);
}

/** Disks come, go, come back, are re-created and change their places. */
export async function changeDisks(scene: Scene, vm: Machine): Promise<void> {
  const { random, world } = scene;
  const machine = await machineOf(scene, vm);
  const disks = [...machine.disks];
  const freeLun = [0, 1, 2, 3, 4].find((lun) => disks.every((disk) => disk.lun !== lun))!;
  const roll = random.next();
  if (roll < 0.25 && disks.length < MOST_DISKS) {
    scene.count('disks made');
    const name = `${vm.name}-more${scene.counts.get('disks made')}`;
    const place = random.chance(0.5)
      ? `https://disks0.example/vhds/${name}.vhd`
      : `/subscriptions/sub/resourcegroups/vhds/providers/microsoft.compute/disks/${name}`;
    await fresh(scene, place);
    disks.push(attached(freeLun, name, place));
  } else if (roll < 0.45 && disks.length > 1) {
    disks.splice(random.between(1, disks.length - 1), 1);
  } else if (roll < 0.65 && disks.length < MOST_DISKS) {
    const away = (await itemOf(scene, vm)).disks.filter(({ url }) => disks.every((disk) => placeOf(disk) !== url));
    if (away.length > 0) {
      const { name, url } = random.pick(away);
      disks.push(attached(freeLun, name, url));
    }
  } else if (roll < 0.8) {
    const url = placeOf(random.pick(disks))!;
    if (random.chance(0.5)) await world.disks.delete(url);
    world.clock.advance(1000);
    await fresh(scene, url);
  } else if (disks.length > 1) {
    const [a, b] = [random.between(0, disks.length - 1), random.between(0, disks.length - 1)];
    const luns = [disks[a]!.lun, disks[b]!.lun] as const;
    disks[a] = { ...disks[a]!, lun: luns[1] };
    if (a !== b) disks[b] = { ...disks[b]!, lun: luns[0] };
  }
  world.compute.put({ ...machine, disks });
}

function attached(lun: number, name: string, place: string): AttachedDisk {
  return isManagedDisk(place)
    ? { lun, name, vhdUrl: undefined, managedDiskId: place }
    : { lun, name, vhdUrl: place, managedDiskId: undefined };
}

/** A new disk of some size with one block written. */
async function fresh({ random, world }: Scene, url: string): Promise<void> {
  await world.disks.create(url, random.between(1, MOST_BLOCKS) * BLOCK_BYTES);
  await world.disks.write(url, 0, Buffer.alloc(BLOCK_BYTES, random.between(1, 5)));
}

/** Somebody deletes snapshots of one of the VM's disks. */
export async function loseSnapshots(scene: Scene, vm: Machine): Promise<void> {
  const { random, world } = scene;
  const url = placeOf(random.pick((await machineOf(scene, vm)).disks))!;
  for await (const snapshot of world.ports.snapshots.list(url))
    if (random.chance(0.5)) await world.ports.snapshots.remove(snapshot);
}
