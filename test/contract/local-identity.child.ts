/**
 * A client of the platform as the app is one: a process that knows the authority, its own id and secret and the CA from
 * its environment alone. Prints one line of JSON.
 */
import { ComputeManagementClient } from '@azure/arm-compute';
import { DefaultAzureCredential } from '@azure/identity';
import { collect } from './local-compute.rig.ts';

const [endpoint = '', subscriptionId = '', location = ''] = process.argv.slice(2);

const client = new ComputeManagementClient(new DefaultAzureCredential(), subscriptionId, { endpoint });
const { disks, snapshots, virtualMachines } = client;

const disk = await disks.createOrUpdate('child', 'os', {
  location,
  diskSizeGB: 1,
  osType: 'Linux',
  creationData: { createOption: 'Empty' },
});
const snapshot = await snapshots.createOrUpdate('child', 'picture', {
  location,
  incremental: true,
  creationData: { createOption: 'Copy', sourceResourceId: disk.id ?? '' },
});
const { accessSAS } = await snapshots.grantAccess('child', 'picture', { access: 'Read', durationInSeconds: 60 });
await snapshots.revokeAccess('child', 'picture');
await virtualMachines.createOrUpdate('child', 'vm', {
  location,
  storageProfile: { osDisk: { osType: 'Linux', createOption: 'Attach', managedDisk: { id: disk.id ?? '' } } },
});
const got = await virtualMachines.get('child', 'vm');
const listed = await collect(virtualMachines.listAll());
await virtualMachines.delete('child', 'vm');
await snapshots.delete('child', 'picture');
await disks.delete('child', 'os');
const left = [
  ...(await collect(disks.list())),
  ...(await collect(snapshots.list())),
  ...(await collect(virtualMachines.listAll())),
];

console.log(
  JSON.stringify({
    vm: got.name,
    disk: got.storageProfile?.osDisk?.managedDisk?.id === disk.id,
    listed: listed.length,
    incremental: snapshot.incremental,
    sas: accessSAS?.includes('snapshot='),
    left: left.length,
  }),
);
