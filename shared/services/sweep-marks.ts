import { createHash } from 'node:crypto';
import type { DiskId, ItemId } from '../domain/ids.ts';
import type { SweepDecision } from '../domain/sweep.ts';
import { isBackupError } from '../domain/errors.ts';
import { itemPrefix } from '../format/names.ts';
import { forEachAtOnce } from './pipeline.ts';
import type { Ports } from './ports.ts';
import type { Place } from './sweep-walk.ts';

/*
 * A mark says when a name was first seen without anybody naming it. Marks of objects sort by the places that a sweep walks through, so that it
 * reads those of the names before it and no others. Names are longer than keys may be, and have slashes: the end of a key is a digest.
 */

/** Marks written or deleted, and objects deleted, at once. */
const WRITES_IN_FLIGHT = 8;

const OBJECTS = 'o|';
const SNAPSHOTS = 's|';

/** Where an object sorts, whoever has made it: its folder, and what of its own name tells places apart. */
const PLACE_FORM =
  /^(?:(disks\/[0-9a-z-]{1,40}\/)(?:[^/]+\/)?(\d{0,6})|(points\/)(\d{0,17})|(plans\/)([0-9a-f]{0,16}))/;

const digest = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 40);
const asKey = (place: Place): string => `${OBJECTS}${place.replaceAll('/', '|')}`;

/** The key of an object's mark. */
export function objectMark(item: ItemId, name: string): string {
  const parts = PLACE_FORM.exec(name.slice(itemPrefix(item).length))?.slice(1) ?? [];
  return `${asKey(parts.join(''))}|${digest(name)}`;
}

/** The key of a snapshot's mark. */
export const snapshotMark = (name: string): string => `${SNAPSHOTS}${digest(name)}`;

/** The marks of what lies in these places, or lay there, by name. */
export async function objectMarks(
  ports: Ports,
  partition: string,
  places: readonly Place[],
): Promise<Map<string, number>> {
  const marks = new Map<string, number>();
  for (const place of places) await readMarks(ports, partition, asKey(place), marks);
  return marks;
}

/** The marks of snapshots, by name. */
export async function snapshotMarks(ports: Ports, partition: string): Promise<Map<string, number>> {
  const marks = new Map<string, number>();
  await readMarks(ports, partition, SNAPSHOTS, marks);
  return marks;
}

async function readMarks(ports: Ports, partition: string, prefix: string, marks: Map<string, number>): Promise<void> {
  for await (const { row } of ports.catalog.marks.list(partition, prefix)) marks.set(row.name, row.markedAt);
}

/** Takes away the marks that no place leads to any more: of disks whose folders are gone, and of keys of another form. */
export async function forgetMarks(ports: Ports, partition: string, disks: ReadonlySet<DiskId>): Promise<void> {
  for await (const { key } of ports.catalog.marks.list(partition)) {
    const disk = /^o\|disks\|([^|]+)\|/.exec(key)?.[1];
    const isKnown = key.startsWith(SNAPSHOTS) || key.startsWith(OBJECTS);
    if (!isKnown || (disk !== undefined && !disks.has(disk as DiskId)))
      await ports.catalog.marks.remove(partition, key);
  }
}

/** Carries a decision out; `deleteOne` says whether it has. */
export async function applySweep(
  ports: Ports,
  partition: string,
  keyOf: (name: string) => string,
  { mark, unmark, remove }: SweepDecision,
  marks: ReadonlyMap<string, number>,
  deleteOne: (name: string) => Promise<boolean>,
): Promise<void> {
  const markedAt = ports.clock.now();
  const table = ports.catalog.marks;
  await forEachAtOnce(mark, WRITES_IN_FLIGHT, (name) => table.upsert(partition, keyOf(name), { name, markedAt }));
  await forEachAtOnce(unmark, WRITES_IN_FLIGHT, (name) => table.remove(partition, keyOf(name)));
  await forEachAtOnce(remove, WRITES_IN_FLIGHT, async (name) => {
    try {
      if (!(await deleteOne(name))) return;
    } catch (error) {
      if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
      await table.upsert(partition, keyOf(name), { name, markedAt: marks.get(name)!, owed: true });
      ports.log(`the delete of ${name} is owed: ${error.message}`);
      return;
    }
    await table.remove(partition, keyOf(name));
  });
}
