import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import type { AttachedDisk, VirtualMachine } from '../../shared/compute/compute.ts';
import { collect } from '../support/collect.ts';
import { memoryCompute } from '../support/memory-compute.ts';
import { computeContract, type MachineSpec } from './compute.contract.ts';

const subscriptionId = '0b1f6471-1bf0-4dda-aec3-cb9272f09590';
const location = 'westeurope';

function machineOf({ resourceGroup, name, size, osType, managed, luns }: MachineSpec): VirtualMachine {
  const group = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute`;
  const disk = (lun: number, diskName: string): AttachedDisk => ({
    lun,
    name: diskName,
    vhdUrl: managed ? undefined : `https://disks.blob.core.windows.net/vhds/${diskName}.vhd`,
    managedDiskId: managed ? `${group}/disks/${diskName}` : undefined,
  });
  return {
    id: `${group}/virtualMachines/${name}`,
    vmId: randomUUID(),
    name,
    resourceGroup,
    location,
    size,
    osType,
    disks: [...luns.map((lun) => disk(lun, `${name}-data${lun}`)), disk(-1, `${name}-os`)],
  };
}

computeContract('in memory', async () => {
  const compute = memoryCompute();
  return {
    compute,
    subscriptionId,
    location,
    create: async (spec) => compute.put(machineOf(spec)),
    delete: async (resourceId) => compute.delete(resourceId),
  };
});

it('the memory provider can go away and come back', async () => {
  const spec = { resourceGroup: 'g', name: 'v', size: 's', osType: 'Linux', managed: true, luns: [] } as const;
  const machine = machineOf(spec);
  const compute = memoryCompute(machine);
  compute.goAway();
  await expect(compute.virtualMachine(machine.id)).rejects.toMatchObject({ code: 'ComputeUnavailable' });
  await expect(collect(compute.virtualMachines(subscriptionId))).rejects.toMatchObject({
    code: 'ComputeUnavailable',
  });
  compute.comeBack();
  expect(await compute.virtualMachine(machine.id)).toEqual(machine);
});
