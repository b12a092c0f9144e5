import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixedFooter, isFooter } from '../../shared/domain/vhd-footer.ts';
import {
  collect,
  containerOf,
  failure,
  LOCATION,
  pattern,
  sasBlob,
  seedVhd,
  startRig,
  type Rig,
} from './local-compute.rig.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const disks = () => rig.client.disks;
const read = { access: 'Read', durationInSeconds: 600 };
const write = { access: 'Write', durationInSeconds: 600 };

async function createEmpty(name: string, diskSizeGB = 1) {
  return disks().createOrUpdate('rg1', name, {
    location: LOCATION,
    diskSizeGB,
    creationData: { createOption: 'Empty' },
  });
}

/** A disk of `content`, made as a client makes one: Upload, write, revoke. */
async function upload(name: string, sizeBytes: number, content: Buffer) {
  await disks().createOrUpdate('rg1', name, {
    location: LOCATION,
    creationData: { createOption: 'Upload', uploadSizeBytes: sizeBytes + 512 },
  });
  const { accessSAS } = await disks().grantAccess('rg1', name, write);
  await sasBlob(accessSAS).uploadPages(content, 0, content.length);
  await sasBlob(accessSAS).uploadPages(fixedFooter(sizeBytes, 0), sizeBytes, 512);
  await disks().revokeAccess('rg1', name);
  return disks().get('rg1', name);
}

describe('managed disks', () => {
  it('creates an empty disk as zeros and a VHD footer', async () => {
    const disk = await createEmpty('empty', 2);
    expect(disk).toMatchObject({
      id: expect.stringMatching(/\/resourceGroups\/rg1\/providers\/Microsoft\.Compute\/disks\/empty$/),
      type: 'Microsoft.Compute/disks',
      location: LOCATION,
      provisioningState: 'Succeeded',
      diskState: 'Unattached',
      diskSizeGB: 2,
      diskSizeBytes: 2 * GIB,
      sku: { name: 'Standard_LRS' },
      uniqueId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      timeCreated: new Date(rig.clock.nowMs),
    });
    const { accessSAS } = await disks().grantAccess('rg1', 'empty', read);
    const blob = sasBlob(accessSAS);
    expect((await blob.getProperties()).contentLength).toBe(2 * GIB + 512);
    expect(isFooter(await blob.downloadToBuffer(2 * GIB, 512))).toBe(true);
    expect(await collect(blob.listPageRanges(0, 2 * GIB))).toEqual([]);
    expect((await disks().get('rg1', 'empty')).diskState).toBe('ActiveSAS');
    await disks().revokeAccess('rg1', 'empty');
    await expect(blob.getProperties()).rejects.toMatchObject({ statusCode: 403 });
    expect((await disks().get('rg1', 'empty')).diskState).toBe('Unattached');
  });

  it('grants again what is open, refuses another level, and lets Read neither write nor outlive its end', async () => {
    await createEmpty('grants');
    const first = await disks().grantAccess('rg1', 'grants', { access: 'Read', durationInSeconds: 1 });
    const second = await disks().grantAccess('rg1', 'grants', read);
    expect(second).toEqual(first);
    expect(await failure(disks().grantAccess('rg1', 'grants', write))).toMatchObject({ statusCode: 409 });
    await expect(sasBlob(second.accessSAS).uploadPages(pattern(512, 1), 0, 512)).rejects.toMatchObject({
      statusCode: 403,
    });
    expect(await failure(disks().delete('rg1', 'grants'))).toMatchObject({ code: 'OperationNotAllowed' });
    await disks().revokeAccess('rg1', 'grants');
    await disks().revokeAccess('rg1', 'grants');

    const short = await disks().grantAccess('rg1', 'grants', { access: 'Read', durationInSeconds: 1 });
    expect((await sasBlob(short.accessSAS).getProperties()).contentLength).toBe(GIB + 512);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    await expect(sasBlob(short.accessSAS).getProperties()).rejects.toMatchObject({ statusCode: 403 });
    await disks().delete('rg1', 'grants');
  });

  it('walks through an upload: ReadyToUpload, ActiveUpload, Unattached', async () => {
    const created = await disks().createOrUpdate('rg1', 'uploaded', {
      location: LOCATION,
      osType: 'Linux',
      sku: { name: 'Premium_LRS' },
      creationData: { createOption: 'Upload', uploadSizeBytes: 8 * MIB + 512 },
    });
    expect(created).toMatchObject({
      diskState: 'ReadyToUpload',
      diskSizeBytes: 8 * MIB,
      diskSizeGB: 1,
      osType: 'Linux',
    });
    expect(await failure(disks().grantAccess('rg1', 'uploaded', read))).toMatchObject({ statusCode: 409 });
    const { accessSAS } = await disks().grantAccess('rg1', 'uploaded', write);
    expect((await disks().get('rg1', 'uploaded')).diskState).toBe('ActiveUpload');
    const blob = sasBlob(accessSAS);
    await blob.uploadPages(pattern(4096, 7), 1 * MIB, 4096);

    // Without its footer it is no VHD.
    expect(await failure(disks().revokeAccess('rg1', 'uploaded'))).toMatchObject({ code: 'InvalidVhd' });
    expect((await disks().get('rg1', 'uploaded')).diskState).toBe('ReadyToUpload');
    const again = await disks().grantAccess('rg1', 'uploaded', write);
    await sasBlob(again.accessSAS).uploadPages(fixedFooter(8 * MIB, 0), 8 * MIB, 512);
    await disks().revokeAccess('rg1', 'uploaded');
    expect((await disks().get('rg1', 'uploaded')).diskState).toBe('Unattached');
    await expect(blob.uploadPages(pattern(512, 1), 0, 512)).rejects.toMatchObject({ statusCode: 403 });
    // An upload that has ended has ended for ever.
    expect(await failure(disks().grantAccess('rg1', 'uploaded', write))).toMatchObject({ statusCode: 409 });
  });

  it('takes tags within the limits of the service', async () => {
    const tagged = (tags: Record<string, string>) =>
      disks().createOrUpdate('rg1', 'tagged', {
        location: LOCATION,
        diskSizeGB: 1,
        creationData: { createOption: 'Empty' },
        tags,
      });
    const tags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`t${n}`, 'x']));
    for (const wrong of [{ long: 'x'.repeat(257) }, { ['k'.repeat(513)]: 'x' }, { 'a/b': 'x' }, tags(51)])
      expect(await failure(tagged(wrong))).toMatchObject({ statusCode: 400, code: 'InvalidParameter' });
    expect((await tagged({ ...tags(49), long: 'x'.repeat(256) })).tags?.['long']).toHaveLength(256);
  });

  it.each([
    ['storage', true],
    ['emulator', false],
  ])('imports a VHD blob, and copies a disk to an independent larger one: the %s copies', async (way, serverCopies) => {
    rig.restart(serverCopies);
    const content = pattern(5 * MIB, 3);
    const sourceUri = await seedVhd(rig, 'stratadisks1', `import-${way}.vhd`, 16 * MIB, content);
    const imported = await disks().createOrUpdate('rg1', `imported-${way}`, {
      location: LOCATION,
      creationData: { createOption: 'Import', sourceUri },
    });
    expect(imported).toMatchObject({ diskSizeBytes: 16 * MIB, creationData: { createOption: 'Import', sourceUri } });

    const copied = await disks().createOrUpdate('rg2', `copied-${way}`, {
      location: LOCATION,
      diskSizeGB: 2,
      creationData: { createOption: 'Copy', sourceResourceId: imported.id?.toUpperCase() ?? '' },
    });
    expect(copied).toMatchObject({
      diskSizeBytes: 2 * GIB,
      creationData: { sourceResourceId: imported.id, sourceUniqueId: imported.uniqueId },
    });
    expect(copied.uniqueId).not.toBe(imported.uniqueId);

    const target = await disks().grantAccess('rg2', `copied-${way}`, write);
    await sasBlob(target.accessSAS).uploadPages(pattern(512, 9), 0, 512);
    const source = await disks().grantAccess('rg1', `imported-${way}`, read);
    expect((await sasBlob(source.accessSAS).downloadToBuffer(0, content.length)).equals(content)).toBe(true);
    const bytes = await sasBlob(target.accessSAS).downloadToBuffer(0, content.length);
    expect(bytes.subarray(0, 512).equals(pattern(512, 9))).toBe(true);
    expect(bytes.subarray(512).equals(content.subarray(512))).toBe(true);
    const properties = await sasBlob(target.accessSAS).getProperties();
    expect(properties.contentLength).toBe(2 * GIB + 512);
    expect(isFooter(await sasBlob(target.accessSAS).downloadToBuffer(2 * GIB, 512))).toBe(true);
    // Where the source had its footer there is disk now.
    expect((await sasBlob(target.accessSAS).downloadToBuffer(16 * MIB, 512)).equals(Buffer.alloc(512))).toBe(true);
  });

  it('grows a disk, moving its footer, and never shrinks one', async () => {
    const disk = await upload('grown', 8 * MIB, pattern(512, 5));
    const shown = await disks().update('rg1', 'grown', { diskSizeGB: disk.diskSizeGB ?? 0, tags: { a: 'b' } });
    expect(shown).toMatchObject({ diskSizeBytes: 8 * MIB, tags: { a: 'b' } });
    expect(await disks().update('rg1', 'grown', { diskSizeGB: 3 })).toMatchObject({ diskSizeBytes: 3 * GIB });
    const { accessSAS } = await disks().grantAccess('rg1', 'grown', read);
    expect((await sasBlob(accessSAS).downloadToBuffer(8 * MIB, 512)).equals(Buffer.alloc(512))).toBe(true);
    expect(isFooter(await sasBlob(accessSAS).downloadToBuffer(3 * GIB, 512))).toBe(true);
    expect((await sasBlob(accessSAS).downloadToBuffer(0, 512)).equals(pattern(512, 5))).toBe(true);
    expect(await failure(disks().update('rg1', 'grown', { diskSizeGB: 4 }))).toMatchObject({ statusCode: 409 });
    await disks().revokeAccess('rg1', 'grown');
    expect(await failure(disks().update('rg1', 'grown', { diskSizeGB: 2 }))).toMatchObject({ statusCode: 400 });
  });

  it('lists by group without case and by subscription, deletes once, and forgets the bytes', async () => {
    const disk = await createEmpty('deleted');
    const group = await collect(disks().listByResourceGroup('RG1'));
    const all = await collect(disks().list());
    expect(group.map(({ name }) => name)).toContain('deleted');
    expect(all.length).toBeGreaterThan(group.length);
    expect((await disks().get('RG1', 'DELETED')).id).toBe(disk.id);
    const container = containerOf(rig, 'devstoreaccount1', `md-${disk.uniqueId}`);
    expect(await container.exists()).toBe(true);
    await disks().delete('rg1', 'deleted');
    expect(await container.exists()).toBe(false);
    await disks().delete('rg1', 'deleted');
    expect(await failure(disks().get('rg1', 'deleted'))).toMatchObject({ statusCode: 404, code: 'ResourceNotFound' });
    expect((await createEmpty('deleted')).uniqueId).not.toBe(disk.uniqueId);
  });

  it('keeps its disks over a restart', async () => {
    const before = await createEmpty('kept');
    rig.restart();
    expect(await disks().get('rg1', 'kept')).toEqual(before);
  });

  it.each([
    ['storage', true],
    ['emulator', false],
  ])('imports a bare page blob, and a snapshot as of its time: the %s copies', async (way, serverCopies) => {
    rig.restart(serverCopies);
    const vhds = containerOf(rig, 'stratadisks1', 'vhds');
    await vhds.createIfNotExists();
    const raw = vhds.getPageBlobClient(`raw-${way}`);
    await raw.create(2 * MIB);
    await raw.uploadPages(pattern(512, 1), 2 * MIB - 512, 512);
    const { snapshot = '' } = await raw.createSnapshot();
    await raw.uploadPages(pattern(512, 2), 2 * MIB - 512, 512);
    for (const [name, sourceUri, seed] of [
      [`raw-now-${way}`, raw.url, 2],
      [`raw-then-${way}`, raw.withSnapshot(snapshot).url, 1],
    ] as const) {
      const disk = await disks().createOrUpdate('rg1', name, {
        location: LOCATION,
        creationData: { createOption: 'Import', sourceUri },
      });
      expect(disk.diskSizeBytes).toBe(2 * MIB);
      const { accessSAS } = await disks().grantAccess('rg1', name, read);
      const bytes = await sasBlob(accessSAS).downloadToBuffer(2 * MIB - 512, 1024);
      expect(bytes.subarray(0, 512).equals(pattern(512, seed))).toBe(true);
      expect(isFooter(bytes.subarray(512))).toBe(true);
    }
    // What the copy was read from leaves nothing behind.
    const names = await collect(vhds.listBlobsFlat({ includeSnapshots: true, prefix: raw.name }));
    expect(names.length).toBe(2);
  });

  it('goes on with other requests while it copies, and has one winner for a name', async () => {
    rig.restart(false);
    const content = pattern(4 * MIB, 1);
    const sourceUri = await seedVhd(rig, 'stratadisks1', 'slow.vhd', 64 * MIB, content);
    const source = containerOf(rig, 'stratadisks1', 'vhds').getPageBlobClient('slow.vhd');
    for (let offset = 4 * MIB; offset < 64 * MIB; offset += 4 * MIB) await source.uploadPages(content, offset, 4 * MIB);
    const create = () =>
      disks()
        .createOrUpdate('rg1', 'slow', { location: LOCATION, creationData: { createOption: 'Import', sourceUri } })
        .then(
          () => 'created',
          (error: { code: string }) => error.code,
        );
    const attempts = [create(), create(), create()];
    await createEmpty('quick');
    expect((await disks().get('rg1', 'slow')).provisioningState).toBe('Creating');
    expect(await failure(disks().delete('rg1', 'slow'))).toMatchObject({ statusCode: 409 });
    expect((await Promise.all(attempts)).toSorted()).toEqual(['Conflict', 'Conflict', 'created']);
    expect((await disks().get('rg1', 'slow')).provisioningState).toBe('Succeeded');
  });

  it('calls a disk failed whose making the end of the process cut off, and makes it again', async () => {
    const cut = await createEmpty('cut');
    const file = join(rig.dataDir, 'compute.json');
    const state = JSON.parse(await readFile(file, 'utf8'));
    state.disks[cut.id?.toLowerCase() ?? ''].provisioningState = 'Creating';
    await writeFile(file, JSON.stringify(state));
    rig.restart();
    expect((await disks().get('rg1', 'cut')).provisioningState).toBe('Failed');
    expect(await failure(disks().grantAccess('rg1', 'cut', read))).toMatchObject({ statusCode: 409 });
    expect((await createEmpty('cut')).provisioningState).toBe('Succeeded');
    expect(await containerOf(rig, 'devstoreaccount1', `md-${cut.uniqueId}`).exists()).toBe(false);
  });

  it('says so when its bytes are gone, and when its state cannot be read', async () => {
    const lost = await createEmpty('lost');
    await containerOf(rig, 'devstoreaccount1', `md-${lost.uniqueId}`).delete();
    expect(await failure(disks().grantAccess('rg1', 'lost', read))).toMatchObject({ code: 'DiskBlobNotFound' });
    await disks().delete('rg1', 'lost');

    const file = join(rig.dataDir, 'compute.json');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.slice(0, -10));
    expect(() => rig.restart()).toThrow(/compute\.json is damaged/);
    await writeFile(file, text);
    rig.restart();
  });

  it.each([
    ['no location', { creationData: { createOption: 'Empty' }, diskSizeGB: 1 }, 400, 'LocationRequired'],
    ['no size', { location: LOCATION, creationData: { createOption: 'Empty' } }, 400, 'InvalidParameter'],
    [
      'an unknown createOption',
      { location: LOCATION, creationData: { createOption: 'FromImage' } },
      400,
      'InvalidParameter',
    ],
    [
      'a size of the wrong type',
      { location: LOCATION, diskSizeGB: 'big' as unknown as number, creationData: { createOption: 'Empty' } },
      400,
      'InvalidParameter',
    ],
    [
      'an upload of part of a sector',
      { location: LOCATION, creationData: { createOption: 'Upload', uploadSizeBytes: 1000 } },
      400,
      'InvalidParameter',
    ],
    [
      'a source that is not there',
      { location: LOCATION, creationData: { createOption: 'Copy', sourceResourceId: '/subscriptions/x/none' } },
      404,
      'NotFound',
    ],
    [
      'a blob of a foreign account',
      { location: LOCATION, creationData: { createOption: 'Import', sourceUri: 'https://x.example/c/b' } },
      400,
      'InvalidParameter',
    ],
  ])('refuses %s', async (_, disk, statusCode, code) => {
    expect(await failure(disks().createOrUpdate('rg1', 'refused', disk as { location: string }))).toMatchObject({
      statusCode,
      code,
    });
    expect(await failure(disks().get('rg1', 'refused'))).toMatchObject({ code: 'ResourceNotFound' });
  });

  it('refuses to make an existing disk from something else', async () => {
    await createEmpty('fixed');
    const change = disks().createOrUpdate('rg1', 'fixed', {
      location: LOCATION,
      creationData: { createOption: 'Upload', uploadSizeBytes: MIB + 512 },
    });
    expect(await failure(change)).toMatchObject({ statusCode: 409, code: 'PropertyChangeNotAllowed' });
    expect(await createEmpty('fixed')).toMatchObject({ diskState: 'Unattached' });
  });
});
