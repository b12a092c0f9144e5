import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collect, containerOf, failure, LOCATION, pattern, sasBlob, startRig, type Rig } from './local-compute.rig.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const read = { access: 'Read', durationInSeconds: 600 };

async function createDisk(name: string) {
  return rig.client.disks.createOrUpdate('rg1', name, {
    location: LOCATION,
    diskSizeGB: 1,
    osType: 'Linux',
    creationData: { createOption: 'Empty' },
  });
}

/** Writes as the VM's guest would. */
async function writeTo(name: string, content: Buffer, offset: number) {
  const { accessSAS } = await rig.client.disks.grantAccess('rg1', name, { access: 'Write', durationInSeconds: 600 });
  await sasBlob(accessSAS).uploadPages(content, offset, content.length);
  await rig.client.disks.revokeAccess('rg1', name);
}

async function clearOn(name: string, offset: number, count: number) {
  const { accessSAS } = await rig.client.disks.grantAccess('rg1', name, { access: 'Write', durationInSeconds: 600 });
  await sasBlob(accessSAS).clearPages(offset, count);
  await rig.client.disks.revokeAccess('rg1', name);
}

async function snapshot(
  name: string,
  sourceResourceId: string | undefined,
  incremental = true,
  group = 'rg-snapshots',
) {
  return rig.client.snapshots.createOrUpdate(group, name, {
    location: LOCATION,
    incremental,
    creationData: { createOption: 'Copy', sourceResourceId: sourceResourceId ?? '' },
    tags: { job: name },
  });
}

async function open(name: string) {
  const { accessSAS } = await rig.client.snapshots.grantAccess('rg-snapshots', name, read);
  return { url: accessSAS ?? '', blob: sasBlob(accessSAS) };
}

describe('snapshots', () => {
  it('keeps the bytes of its moment, in any resource group, and outlives its disk', async () => {
    const disk = await createDisk('d1');
    await writeTo('d1', pattern(4096, 1), 0);
    const first = await snapshot('s1', disk.id);
    expect(first).toMatchObject({
      id: expect.stringMatching(/\/resourceGroups\/rg-snapshots\/providers\/Microsoft\.Compute\/snapshots\/s1$/),
      provisioningState: 'Succeeded',
      incremental: true,
      incrementalSnapshotFamilyId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      diskSizeBytes: GIB,
      diskState: 'Unattached',
      osType: 'Linux',
      completionPercent: 100,
      tags: { job: 's1' },
      creationData: { createOption: 'Copy', sourceResourceId: disk.id, sourceUniqueId: disk.uniqueId },
    });
    await writeTo('d1', pattern(4096, 2), 0);
    // A second PUT is no second picture.
    expect(await snapshot('s1', disk.id)).toEqual(first);
    await rig.client.disks.delete('rg1', 'd1');
    const { blob } = await open('s1');
    expect((await blob.downloadToBuffer(0, 4096)).equals(pattern(4096, 1))).toBe(true);
    expect((await blob.getProperties()).contentLength).toBe(GIB + 512);
    expect((await rig.client.snapshots.get('RG-Snapshots', 'S1')).diskState).toBe('ActiveSAS');

    const copy = await rig.client.disks.createOrUpdate('rg1', 'd1-again', {
      location: LOCATION,
      creationData: { createOption: 'Copy', sourceResourceId: first.id ?? '' },
    });
    expect(copy).toMatchObject({ diskSizeBytes: GIB, osType: 'Linux' });
    const { accessSAS } = await rig.client.disks.grantAccess('rg1', 'd1-again', read);
    expect((await sasBlob(accessSAS).downloadToBuffer(0, 4096)).equals(pattern(4096, 1))).toBe(true);

    expect(await failure(rig.client.snapshots.delete('rg-snapshots', 's1'))).toMatchObject({ statusCode: 409 });
    await rig.client.snapshots.revokeAccess('rg-snapshots', 's1');
    await expect(blob.getProperties()).rejects.toMatchObject({ statusCode: 403 });
    await rig.client.snapshots.delete('rg-snapshots', 's1');
    expect(await containerOf(rig, 'devstoreaccount1', `md-${disk.uniqueId}`).exists()).toBe(false);
    expect(await failure(rig.client.snapshots.get('rg-snapshots', 's1'))).toMatchObject({ code: 'ResourceNotFound' });
  });

  it('answers what changed between two snapshots of one disk, cleared pages too', async () => {
    const disk = await createDisk('d2');
    await writeTo('d2', pattern(8192, 1), 0);
    await writeTo('d2', pattern(8192, 2), 64 * MIB);
    const first = await snapshot('s2a', disk.id);
    rig.clock.nowMs += 86_400_000;
    await writeTo('d2', pattern(512, 3), 1024);
    await clearOn('d2', 64 * MIB, 4096);
    const second = await snapshot('s2b', disk.id);
    expect(second.incrementalSnapshotFamilyId).toBe(first.incrementalSnapshotFamilyId);
    expect(second.timeCreated?.getTime()).toBeGreaterThan(first.timeCreated?.getTime() ?? Infinity);

    const [older, newer] = [await open('s2a'), await open('s2b')];
    // The raw call: the SDK's own pager for this ignores the marker.
    const response = await fetch(`${newer.url}&comp=pagelist`, {
      headers: { 'x-ms-previous-snapshot-url': older.url, 'x-ms-version': '2024-11-04' },
    });
    expect(response.status).toBe(200);
    const ranges = [...(await response.text()).matchAll(/<(Page|Clear)Range><Start>(\d+)<\/Start><End>(\d+)</g)];
    expect(ranges.map(([, kind, start, end]) => [kind, Number(start), Number(end)])).toEqual([
      ['Page', 1024, 1535],
      ['Clear', 64 * MIB, 64 * MIB + 4095],
    ]);
  });

  it('opens at most five snapshots of a family at a time', async () => {
    const [disk, other] = [await createDisk('d3'), await createDisk('d4')];
    for (const index of [1, 2, 3, 4, 5, 6]) await snapshot(`s3-${index}`, disk.id);
    await snapshot('s4', other.id);
    for (const index of [1, 2, 3, 4, 5]) await open(`s3-${index}`);
    expect(await failure(open('s3-6'))).toMatchObject({
      statusCode: 409,
      message: expect.stringContaining('at most 5'),
    });
    const again = await open('s3-1');
    expect((await again.blob.getProperties()).contentLength).toBe(GIB + 512);
    await open('s4');
    await rig.client.snapshots.revokeAccess('rg-snapshots', 's3-1');
    await expect(again.blob.getProperties()).rejects.toMatchObject({ statusCode: 403 });
    expect((await (await open('s3-6')).blob.getProperties()).contentLength).toBe(GIB + 512);
  });

  it('lists by group and by subscription, and changes tags', async () => {
    const disk = await createDisk('d5');
    const full = await snapshot('s5', disk.id, false, 'rg5');
    expect(full.incremental).toBe(false);
    expect(full.incrementalSnapshotFamilyId).toBeUndefined();
    expect((await collect(rig.client.snapshots.listByResourceGroup('RG5'))).map(({ name }) => name)).toEqual(['s5']);
    expect((await collect(rig.client.snapshots.list())).length).toBeGreaterThan(1);
    expect((await rig.client.snapshots.update('rg5', 's5', { tags: { kept: 'yes' } })).tags).toEqual({ kept: 'yes' });
    rig.restart();
    expect((await rig.client.snapshots.get('rg5', 's5')).tags).toEqual({ kept: 'yes' });
  });

  it('refuses what the service refuses', async () => {
    const disk = await createDisk('d6');
    await snapshot('s6', disk.id);
    expect(await failure(snapshot('s6', disk.id, false))).toMatchObject({ code: 'PropertyChangeNotAllowed' });
    expect(await failure(snapshot('s7', `${disk.id}-none`))).toMatchObject({ statusCode: 404, code: 'NotFound' });
    expect(await failure(snapshot('bad name', disk.id))).toMatchObject({ statusCode: 400, code: 'InvalidParameter' });
    const elsewhere = rig.client.snapshots.createOrUpdate('rg1', 's8', {
      location: 'eastus',
      creationData: { createOption: 'Copy', sourceResourceId: disk.id ?? '' },
    });
    expect(await failure(elsewhere)).toMatchObject({ code: 'InvalidParameter' });
    const write = rig.client.snapshots.grantAccess('rg-snapshots', 's6', { access: 'Write', durationInSeconds: 60 });
    expect(await failure(write)).toMatchObject({ code: 'InvalidParameter' });
    const forNothing = rig.client.snapshots.grantAccess('rg-snapshots', 's6', { access: 'Read', durationInSeconds: 0 });
    expect(await failure(forNothing)).toMatchObject({ code: 'InvalidParameter' });
    await rig.client.disks.createOrUpdate('rg1', 'd7', {
      location: LOCATION,
      creationData: { createOption: 'Upload', uploadSizeBytes: MIB + 512 },
    });
    const d7 = await rig.client.disks.get('rg1', 'd7');
    expect(await failure(snapshot('s9', d7.id))).toMatchObject({ statusCode: 409, code: 'OperationNotAllowed' });
  });
});
