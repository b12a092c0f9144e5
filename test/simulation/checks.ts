import type { JobRow, SnapshotSet } from '../../shared/catalog/catalog.ts';
import { placeOf } from '../../shared/compute/compute.ts';
import { isManagedDisk } from '../../shared/disk/managed-ids.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { FOOTER_BYTES, isFooter } from '../../shared/domain/vhd-footer.ts';
import { ITEMS_PREFIX } from '../../shared/format/names.ts';
import { jobsNewestFirst } from '../../shared/services/job-index.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import { pruneJobs } from '../../shared/services/prune-jobs.ts';
import { assertBilled } from '../support/assert-billed.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { leftovers, liveManifests, namedIn, newestRecord } from '../support/vault-map.ts';
import { checkBill } from './bill.ts';
import { VAULT } from '../support/world.ts';
import { type Machine, type Scene, blobsOf, isKnown, itemOf, jobsOf, machineOf } from './scene.ts';
import { checkVerified } from './verify.ts';

/** What the newest record of each item led to when it was last looked at, with the bytes that lay there. */
const lastSeen = new WeakMap<Scene, Map<string, { body: Uint8Array; named: ReadonlyMap<string, Uint8Array> }>>();

/** Whatever is under way: all that the newest records lead to is there, and no point stands in a record twice. */
export async function checkNamed(scene: Scene): Promise<void> {
  for (const vm of scene.machines) {
    const { itemId } = vm;
    const blobs = blobsOf(scene);
    if (isAsSeen(scene, itemId, blobs)) continue;
    const record = newestRecord(blobs, itemId);
    const points = record.points.map(({ point }) => point);
    if (points.some((point, i) => i > 0 && point <= points[i - 1]!))
      throw new Error(`record with points ${points.join(', ')}`);
    const named = new Map([...namedIn(blobs, itemId)].map((name) => [name, blobs.get(name)!.body]));
    const seen = lastSeen.get(scene) ?? new Map<string, { body: Uint8Array; named: ReadonlyMap<string, Uint8Array> }>();
    lastSeen.set(scene, seen.set(itemId, { body: newestBody(blobs, itemId), named }));
  }
}

/** Whether record and named objects are the very bytes that were looked at before: then they need not be read again. */
function isAsSeen(scene: Scene, itemId: string, blobs: ReadonlyMap<string, StoredBlob>): boolean {
  const seen = lastSeen.get(scene)?.get(itemId);
  if (seen === undefined || newestBody(blobs, itemId) !== seen.body) return false;
  for (const [name, body] of seen.named) if (blobs.get(name)?.body !== body) return false;
  return true;
}

function newestBody(blobs: ReadonlyMap<string, StoredBlob>, itemId: string): Uint8Array {
  let newest = '';
  for (const name of blobs.keys()) if (name > newest && name.includes(`${itemId}/chain/`)) newest = name;
  return blobs.get(newest)!.body;
}

/** At the end, when nothing moves any more: every rule. */
export async function checkEnd(scene: Scene): Promise<void> {
  const jobs = await jobsOf(scene);
  for (const row of jobs) {
    if (!ENDED.has(row.status)) throw new Error(`job ${row.operation} is ${row.status}`);
    if (row.errors.some(({ code }) => code === 'InternalError'))
      throw new Error(`job failed: ${JSON.stringify(row.errors)}`);
    // Nothing is left out of any comparison here: whoever says so has compared with something else than the base.
    const missed = row.churn?.find(({ missedBytes }) => missedBytes > 0);
    if (missed !== undefined) throw new Error(`a false alarm: ${JSON.stringify(missed)}`);
  }
  await checkVerified(scene, jobs);
  await checkJobLists(scene);
  let isAnyReplaced = false;
  for (const vm of scene.machines) {
    if (!(await isKnown(scene, vm))) {
      // A rebuild brings back what has points; who never had any is protected anew.
      const { points } = newestRecord(blobsOf(scene), vm.itemId);
      if (points.length > 0) throw new Error(`item ${vm.itemId} of ${points.length} points has no row`);
      continue;
    }
    const { itemId, ...item } = await itemOf(scene, vm);
    // A request to protect the VM came between the loss of the tables and their rebuild: it is another item now, and the old one stays.
    if (itemId !== vm.itemId) {
      isAnyReplaced = true;
      continue;
    }
    const held = [
      item.activeJob,
      ...(item.waiting ?? []).map(({ jobId }) => jobId),
      item.mergeJob,
      item.verifyJob,
      item.leaving,
      ...item.pins.map(({ point }) => point),
    ].filter((each) => each !== undefined);
    if (held.length > 0) throw new Error(`item ${itemId} is held by ${held.join(', ')}`);
    const own = jobs.filter((job) => job.itemId === itemId);
    const sets = scene.sets.get(itemId)!;
    for (const job of own) if (job.operation === 'Restore') await checkRestore(scene, job, sets.get(job.point!)!);
    const left = leftovers(blobsOf(scene), itemId);
    if (left.length > 0) throw new Error(`left over: ${left.join(', ')}`);
    await checkSnapshots(scene, vm, itemId);
    await checkListed(scene, vm);
    await checkMerged(scene, vm);
    checkBill(scene, itemId, sets);
    await checkPoints(scene, vm, sets);
  }
  // The sweep goes by the rows of items: what work that was under way has left in the folder of one that has none stays, unexplained. That
  // may be one that was protected between a loss and its rebuild, and has given its place back.
  const own = new Set(scene.machines.map(({ itemId }): string | undefined => itemId));
  const isOfOthers = (name: string): boolean => name.startsWith(ITEMS_PREFIX) && !own.has(name.split('/')[2]);
  if (!isAnyReplaced && ![...blobsOf(scene).keys()].some(isOfOthers)) await assertBilled(scene.world);
}

/** Lists of jobs say what the jobs' own rows say; where tables were lost, once the daily cleanup has been there. */
async function checkJobLists({ world: { ports }, counts }: Scene): Promise<void> {
  if (counts.has('tables lost')) await pruneJobs(ports, VAULT);
  for (const kind of ['service', 'own'] as const) {
    const [found, right] = [true, false].map(async (isIndexed) => {
      const ids: string[] = [];
      for await (const { row } of jobsNewestFirst(ports, VAULT, isIndexed, { kind }, 50))
        ids.push(`${row.jobId} ${row.status}`);
      return ids.join(', ');
    });
    if ((await found) !== (await right))
      throw new Error(`${kind} jobs are listed as ${await found}, and are ${await right}`);
  }
}

/** Every point that the newest record names can be seen and is said to be in the vault, whatever tables were lost. */
async function checkListed(scene: Scene, { name, itemId }: Machine): Promise<void> {
  const listed = new Set(
    (await scene.world.points(name)).filter(({ vault }) => vault === 'Valid').map(({ point }) => point),
  );
  const missing = newestRecord(blobsOf(scene), itemId).points.filter(({ point }) => !listed.has(point));
  if (missing.length > 0) throw new Error(`points ${missing.map(({ point }) => point).join(', ')} are not listed`);
}

/** No point that was merged away has come back, be it as one of the snapshot tier. */
async function checkMerged(scene: Scene, { name, itemId }: Machine): Promise<void> {
  const blobs = blobsOf(scene);
  const live = new Set(newestRecord(blobs, itemId).points.map(({ point }): string => point));
  const once = new Set<string>();
  for (const [blob, { body }] of blobs) {
    if (!blob.startsWith(`v1/items/${itemId}/chain/`)) continue;
    const { points } = JSON.parse(Buffer.from(body).toString()) as { points: { point: string }[] };
    for (const { point } of points) once.add(point);
  }
  for (const { point } of await scene.world.points(name))
    if (once.has(point) && !live.has(point)) throw new Error(`point ${point} was merged away and has come back`);
}

/** Every snapshot belongs to a point. */
async function checkSnapshots(scene: Scene, vm: Machine, itemId: string): Promise<void> {
  const { world } = scene;
  const owned = new Set<string>();
  for (const { set, instant } of await world.points(vm.name)) {
    if (instant === 'Valid') for (const { url, snapshot } of set.disks) owned.add(`${url}?${snapshot}`);
  }
  const manifests = liveManifests(blobsOf(scene), itemId).flatMap(({ disks }) => disks.map(({ url }) => url));
  const attached = (await machineOf(scene, vm)).disks.map((disk) => placeOf(disk)!);
  // Snapshots of managed disks outlive them.
  for (const disk of world.disks.snapshotted().filter((each) => each.includes('/vhds/'))) {
    // A disk that is neither attached nor in any point was known to the lost tables alone.
    if (scene.counts.has('tables lost') && !manifests.includes(disk) && !attached.includes(disk)) continue;
    for await (const { url, id, tags } of world.ports.snapshots.list(disk)) {
      if (tags['item'] === itemId && !owned.has(`${url}?${id}`))
        throw new Error(`snapshot ${id} of ${url} is left over: ${JSON.stringify(tags)}`);
    }
  }
}

/**
 * What a restore has made: every byte, or nothing. One that had decided to complete and could not hand its disks over for two weeks
 * fails, and leaves them: those that were handed over have every byte, the others the mark that says that they are not complete.
 */
async function checkRestore(scene: Scene, job: JobRow, sets: readonly SnapshotSet[]): Promise<void> {
  const { world } = scene;
  const { containerUrl, managed } = job.restore!;
  const isOwn = (url: string): boolean =>
    isManagedDisk(url)
      ? url.endsWith(`-${job.jobId.replaceAll('-', '').slice(0, 12)}`)
      : url.startsWith(`${containerUrl}/`) && url.endsWith('.vhd');
  const made = world.disks.urls().filter(isOwn);
  const what = `restore job ${job.jobId} of ${job.point}, which is ${job.status},`;
  const isGivenUp = job.status === 'Failed' && job.outcome === 'Completed';
  const isDrill = job.restore!.verifyJob !== undefined;
  if (isDrill || (job.status !== 'Completed' && !isGivenUp)) {
    if (made.length > 0) throw new Error(`${what} has left ${made.join(', ')}`);
    return;
  }
  const whole: string[] = [];
  for (const url of made) {
    const isMarked = (await world.disks.metadata(url))?.['strata_incomplete'] !== undefined;
    if (isMarked && !isGivenUp) throw new Error(`${what} has left the mark on ${url}`);
    if (!isMarked) whole.push(url);
  }
  const problems: string[] = [];
  const expected = (set: SnapshotSet): number =>
    set.disks.filter(({ url }) => managed !== undefined && (managed.all || isManagedDisk(url))).length;
  for (const set of sets) {
    const found = made.filter((url) => isManagedDisk(url)).length;
    if (!isGivenUp && found !== expected(set)) {
      problems.push(`it has made ${found} managed disks of ${expected(set)}`);
      continue;
    }
    if (made.length !== set.disks.length && !isGivenUp)
      problems.push(`it has made ${made.length} disks of ${set.disks.length}`);
    else {
      const wrong = await differing(scene, made, whole, set);
      if (wrong === undefined) return;
      problems.push(`disk ${wrong} differs`);
    }
  }
  throw new Error(`${what}: ${problems.join('; ')}`);
}

/** The first of the disks in `whole` whose bytes are not those that the set had. `made` are all, in the set's order. */
async function differing(
  { world, images }: Scene,
  made: readonly string[],
  whole: readonly string[],
  set: SnapshotSet,
): Promise<string | undefined> {
  for (const [i, url] of made.entries()) {
    if (!whole.includes(url)) continue;
    const source =
      set.disks.find(({ name, lun }) => url.endsWith(`/${name}.vhd`) || url.includes(`/${name}-${slot(lun)}-`)) ??
      set.disks[i]!;
    const bytes = await world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) });
    const image = images.get(`${source.url}?${source.snapshot}`)!;
    const isVhdOfManaged = isManagedDisk(source.url) && !isManagedDisk(url);
    const disk = isVhdOfManaged ? bytes.subarray(0, -FOOTER_BYTES) : bytes;
    if (isVhdOfManaged && !isFooter(bytes.subarray(-FOOTER_BYTES))) return `${source.name} without its footer`;
    if (Buffer.compare(disk, image) !== 0) return source.name;
  }
  return undefined;
}

/** How a restored managed disk's name says where it was attached. */
const slot = (lun: number): string => (lun === -1 ? 'os' : `lun${lun}`);

/** Every point that is left restores to its bytes from the vault. */
async function checkPoints(
  scene: Scene,
  { name }: Machine,
  sets: ReadonlyMap<PointId, readonly SnapshotSet[]>,
): Promise<void> {
  const { world } = scene;
  for (const { point, set, instant, vault } of await world.points(name)) {
    if (vault !== 'Valid') continue;
    if (instant === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job } = await world.restore(name, point);
    if (job.status !== 'Completed') throw new Error(`point ${point} does not restore: ${JSON.stringify(job.errors)}`);
    await checkRestore(scene, job, sets.get(point)!);
  }
}
