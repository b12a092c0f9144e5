import type { VirtualMachine } from '@azure/arm-compute';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  collect,
  containerOf,
  failure,
  LOCATION,
  seedVhd,
  startRig,
  SUBSCRIPTION,
  type Rig,
} from './local-compute.rig.ts';

const MIB = 1024 * 1024;

let rig: Rig;
let osUri: string;
let dataUri: string;
beforeAll(async () => {
  rig = await startRig();
  osUri = await seedVhd(rig, 'stratadisks1', 'os.vhd', 4 * MIB);
  dataUri = await seedVhd(rig, 'stratapremium1', 'data.vhd', 4 * MIB);
});
afterAll(() => rig.stop());

const vms = () => rig.client.virtualMachines;
const size = { vmSize: 'Standard_B2s' };

function unmanaged(os: string, data: { lun: number; uri: string }[] = []): VirtualMachine {
  return {
    location: 'West Europe',
    hardwareProfile: size,
    storageProfile: {
      osDisk: { name: 'os', osType: 'Linux', createOption: 'Attach', vhd: { uri: os } },
      dataDisks: data.map(({ lun, uri }) => ({ lun, name: `data${lun}`, createOption: 'Attach', vhd: { uri } })),
    },
  };
}

async function managedDisk(name: string) {
  return rig.client.disks.createOrUpdate('rg1', name, {
    location: LOCATION,
    diskSizeGB: 1,
    creationData: { createOption: 'Empty' },
  });
}

function managed(osId: string | undefined, dataIds: (string | undefined)[] = []): VirtualMachine {
  return {
    location: LOCATION,
    storageProfile: {
      osDisk: { osType: 'Windows', createOption: 'Attach', managedDisk: { id: osId ?? '' } },
      dataDisks: dataIds.map((id, lun) => ({ lun, createOption: 'Attach', managedDisk: { id: id ?? '' } })),
    },
  };
}

describe('virtual machines', () => {
  it('has unmanaged disks, power states and an id that a re-created VM does not inherit', async () => {
    const vm = await vms().createOrUpdate('rg1', 'Web01', unmanaged(osUri, [{ lun: 3, uri: dataUri }]));
    expect(vm).toMatchObject({
      id: expect.stringMatching(/\/resourceGroups\/rg1\/providers\/Microsoft\.Compute\/virtualMachines\/Web01$/),
      type: 'Microsoft.Compute/virtualMachines',
      location: LOCATION,
      provisioningState: 'Succeeded',
      vmId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      hardwareProfile: size,
      timeCreated: new Date(rig.clock.nowMs),
      storageProfile: {
        osDisk: { name: 'os', osType: 'Linux', createOption: 'Attach', vhd: { uri: osUri } },
        dataDisks: [{ lun: 3, name: 'data3', vhd: { uri: dataUri } }],
      },
    });
    expect(await vms().get('RG1', 'web01')).toEqual(vm);
    const power = async () => (await vms().instanceView('rg1', 'Web01')).statuses?.map(({ code }) => code);
    expect(await power()).toEqual(['ProvisioningState/succeeded', 'PowerState/running']);
    await vms().powerOff('rg1', 'Web01');
    expect(await power()).toContain('PowerState/stopped');
    await vms().deallocate('rg1', 'Web01');
    rig.restart();
    expect(await power()).toContain('PowerState/deallocated');
    await vms().start('rg1', 'Web01');
    const expanded = await vms().get('rg1', 'Web01', { expand: 'instanceView' });
    expect(expanded.instanceView?.statuses?.map(({ code }) => code)).toContain('PowerState/running');

    // Reading and writing back changes nothing.
    expect(await vms().createOrUpdate('rg1', 'web01', vm)).toEqual(vm);
    expect((await vms().update('rg1', 'Web01', { tags: { env: 'test' } })).tags).toEqual({ env: 'test' });

    await vms().delete('rg1', 'Web01');
    await vms().delete('rg1', 'Web01');
    expect(await failure(vms().get('rg1', 'Web01'))).toMatchObject({ statusCode: 404, code: 'ResourceNotFound' });
    const again = await vms().createOrUpdate('rg1', 'Web01', unmanaged(osUri));
    expect(again.vmId).not.toBe(vm.vmId);
    expect((await collect(vms().list('rg1'))).map(({ name }) => name)).toEqual(['Web01']);
    expect((await collect(vms().listAll())).map(({ id }) => id)).toEqual([again.id]);
    expect((await collect(vms().listByLocation(LOCATION))).length).toBe(1);
    await vms().delete('rg1', 'Web01');
  });

  it('attaches managed disks, which then cannot be deleted, taken or read', async () => {
    const [os, data] = [await managedDisk('m-os'), await managedDisk('m-data')];
    const vm = await vms().createOrUpdate('rg2', 'm1', managed(os.id, [data.id]));
    expect(vm.storageProfile?.osDisk).toMatchObject({
      name: 'm-os',
      diskSizeGB: 1,
      managedDisk: { id: os.id, storageAccountType: 'Standard_LRS' },
    });
    const attached = await rig.client.disks.get('rg1', 'm-data');
    expect(attached).toMatchObject({ diskState: 'Attached', managedBy: vm.id });
    expect(await failure(rig.client.disks.delete('rg1', 'm-data'))).toMatchObject({
      code: 'OperationNotAllowed',
    });
    const reading = rig.client.disks.grantAccess('rg1', 'm-data', { access: 'Read', durationInSeconds: 60 });
    expect(await failure(reading)).toMatchObject({ statusCode: 409 });
    expect(await failure(vms().createOrUpdate('rg2', 'm2', managed(data.id)))).toMatchObject({
      statusCode: 409,
      code: 'ConflictingUserInput',
    });
    await vms().deallocate('rg2', 'm1');
    expect((await rig.client.disks.get('rg1', 'm-data')).diskState).toBe('Reserved');

    // Detach the data disk and swap the OS disk.
    const swapped = await managedDisk('m-os2');
    await vms().createOrUpdate('rg2', 'm1', managed(swapped.id));
    expect((await rig.client.disks.get('rg1', 'm-data')).diskState).toBe('Unattached');
    expect((await rig.client.disks.get('rg1', 'm-os')).managedBy).toBeUndefined();
    expect((await vms().get('rg2', 'm1')).vmId).toBe(vm.vmId);
    await vms().delete('rg2', 'm1');
    expect((await rig.client.disks.get('rg1', 'm-os2')).diskState).toBe('Unattached');
  });

  it('refuses disks that are not there, not page blobs, or in use', async () => {
    const refused = async (vm: VirtualMachine, name = 'refused') => failure(vms().createOrUpdate('rg1', name, vm));
    const blocks = containerOf(rig, 'stratadisks1', 'vhds').getBlockBlobClient('blocks.vhd');
    await blocks.upload('x', 1);
    await vms().createOrUpdate('rg1', 'owner', unmanaged(osUri));
    const free = await seedVhd(rig, 'stratadisks2', 'free.vhd', MIB);
    const disk = await managedDisk('m-mixed');

    expect(await refused(unmanaged(osUri))).toMatchObject({ statusCode: 409, code: 'AcquireDiskLeaseFailed' });
    expect(await refused(unmanaged(free, [{ lun: 0, uri: free }]))).toMatchObject({ code: 'AcquireDiskLeaseFailed' });
    expect(await refused(unmanaged(`${free}x`))).toMatchObject({ statusCode: 404, code: 'DiskBlobNotFound' });
    expect(await refused(unmanaged(blocks.url))).toMatchObject({
      code: 'InvalidParameter',
      message: expect.stringContaining('BlockBlob'),
    });
    expect(await refused(unmanaged('https://stratadisks1.blob.core.windows.net/vhds/os.vhd'))).toMatchObject({
      code: 'InvalidParameter',
    });
    expect(await refused(unmanaged('os.vhd'))).toMatchObject({ code: 'InvalidParameter' });
    expect(await refused(unmanaged(`${free}?snapshot=x`))).toMatchObject({ code: 'InvalidParameter' });
    const twice = [1, 1].map((lun, index) => ({ lun, uri: [dataUri, free][index] ?? '' }));
    expect(await refused(unmanaged(free, twice))).toMatchObject({
      code: 'InvalidParameter',
      message: expect.stringContaining("'1'"),
    });
    expect(await refused(managed(`${disk.id}-none`))).toMatchObject({ statusCode: 404, code: 'NotFound' });
    expect(await refused(managed(disk.id, [disk.id]))).toMatchObject({ code: 'InvalidParameter' });
    for (const name of ['-x', 'x.', 'a/b', 'x'.repeat(65), 'ü']) {
      expect(await refused(unmanaged(free), name), name).toMatchObject({ statusCode: 400 });
    }
    expect(await failure(vms().get('rg1', 'refused'))).toMatchObject({ code: 'ResourceNotFound' });
  });

  it('takes page blobs and managed disks in one VM', async () => {
    const disk = await managedDisk('mixed-os');
    const uri = await seedVhd(rig, 'stratadisks1', 'mixed.vhd', MIB);
    const vm = managed(disk.id);
    vm.storageProfile?.dataDisks?.push({ lun: 5, createOption: 'Attach', vhd: { uri } });
    const { storageProfile } = await vms().createOrUpdate('rg1', 'mixed', vm);
    expect(storageProfile?.osDisk?.managedDisk?.id).toBe(disk.id);
    expect(storageProfile?.dataDisks?.map(({ vhd }) => vhd?.uri)).toEqual([uri]);
  });

  it.each<[string, object]>([
    ['no storage profile', { location: LOCATION, properties: {} }],
    [
      'a LUN that is text',
      {
        location: LOCATION,
        properties: {
          storageProfile: {
            osDisk: { osType: 'Linux', createOption: 'Attach', vhd: { uri: 'x' } },
            dataDisks: [{ lun: '0', createOption: 'Attach' }],
          },
        },
      },
    ],
    [
      'an unknown operating system',
      {
        location: LOCATION,
        properties: { storageProfile: { osDisk: { osType: 'BeOS', createOption: 'Attach', vhd: { uri: 'x' } } } },
      },
    ],
    [
      'an image',
      {
        location: LOCATION,
        properties: { storageProfile: { osDisk: { osType: 'Linux', createOption: 'FromImage', vhd: { uri: 'x' } } } },
      },
    ],
    ['a list for a body', []],
  ])('names the field that is wrong: %s', async (_, body) => {
    const path = `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.Compute/virtualMachines/wrong`;
    const answer = await rig.fetch(`${path}?api-version=2024-11-01`, { method: 'PUT', body });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'InvalidParameter' } } });
    expect(answer.body.error.message).toMatch(/'(properties|body)/);
  });
});
