import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Compute, VirtualMachine } from '../../shared/compute/compute.ts';
import { collect } from '../support/collect.ts';

/** A machine to be made; its disks are named `<name>-os` and `<name>-data<lun>` and attached in the order of `luns`. */
export interface MachineSpec {
  readonly resourceGroup: string;
  readonly name: string;
  readonly size: string;
  readonly osType: VirtualMachine['osType'];
  readonly managed: boolean;
  readonly luns: readonly number[];
}

export interface ComputeUnderTest {
  readonly compute: Compute;
  readonly subscriptionId: string;
  readonly location: string;
  /** Creates the machine, with disks of its own, as an administrator does. */
  create(machine: MachineSpec): Promise<void>;
  delete(resourceId: string): Promise<void>;
}

/** What every Compute does. `makeCompute` is called once; other machines may be there. */
export function computeContract(name: string, makeCompute: () => Promise<ComputeUnderTest>): void {
  describe(`compute: ${name}`, () => {
    let provider: ComputeUnderTest;
    beforeAll(async () => {
      provider = await makeCompute();
    });
    const idOf = (group: string, machine: string): string =>
      `/subscriptions/${provider.subscriptionId}/resourceGroups/${group}/providers/Microsoft.Compute/virtualMachines/${machine}`;
    const newSpec = (more: Partial<MachineSpec> = {}): MachineSpec => ({
      resourceGroup: 'Contract-RG',
      name: `Vm-${randomUUID().slice(0, 8)}`,
      size: 'Standard_D4s_v5',
      osType: 'Linux',
      managed: false,
      luns: [],
      ...more,
    });

    it.each([
      ['unmanaged disks', { managed: false, osType: 'Linux' }],
      ['managed disks', { managed: true, osType: 'Windows' }],
    ] as const)('describes a machine with %s, the OS disk first and data disks by LUN', async (_what, more) => {
      const spec = newSpec({ ...more, luns: [11, 0, 2] });
      await provider.create(spec);
      const machine = (await provider.compute.virtualMachine(idOf(spec.resourceGroup, spec.name)))!;
      expect(machine).toMatchObject({
        id: idOf(spec.resourceGroup, spec.name),
        name: spec.name,
        resourceGroup: spec.resourceGroup,
        location: provider.location,
        size: spec.size,
        osType: spec.osType,
      });
      expect(machine.vmId).toMatch(/^[0-9a-f-]{36}$/);
      expect(machine.disks.map(({ lun, name }) => [lun, name])).toEqual([
        [-1, `${spec.name}-os`],
        [0, `${spec.name}-data0`],
        [2, `${spec.name}-data2`],
        [11, `${spec.name}-data11`],
      ]);
      for (const disk of machine.disks) {
        const [given, missing] = spec.managed ? [disk.managedDiskId, disk.vhdUrl] : [disk.vhdUrl, disk.managedDiskId];
        expect(missing).toBeUndefined();
        expect(given).toMatch(spec.managed ? /\/providers\/Microsoft\.Compute\/disks\// : /^https?:\/\/.*\.vhd$/);
        expect(given).toContain(disk.name);
      }
    });

    it('finds a machine whatever the case of its id, and tells the canonical names', async () => {
      const spec = newSpec();
      await provider.create(spec);
      const id = idOf(spec.resourceGroup, spec.name);
      const expected = await provider.compute.virtualMachine(id);
      expect(expected).toMatchObject({ id, name: spec.name, resourceGroup: spec.resourceGroup });
      for (const spelling of [id.toLowerCase(), id.toUpperCase(), id.replace('resourceGroups', 'resourcegroups')])
        expect(await provider.compute.virtualMachine(spelling)).toEqual(expected);
    });

    it('absence is an answer: no machine, no group', async () => {
      const { name, resourceGroup } = newSpec();
      expect(await provider.compute.virtualMachine(idOf(resourceGroup, name))).toBeUndefined();
      expect(await provider.compute.virtualMachine(idOf('no-such-group', name))).toBeUndefined();
    });

    it('a machine made anew under the same name is another one', async () => {
      const spec = newSpec();
      const id = idOf(spec.resourceGroup, spec.name);
      await provider.create(spec);
      const before = await provider.compute.virtualMachine(id);
      await provider.delete(id);
      expect(await provider.compute.virtualMachine(id)).toBeUndefined();
      await provider.create(spec);
      const after = await provider.compute.virtualMachine(id);
      expect(after).toMatchObject({ id, name: spec.name });
      expect(after?.vmId).not.toBe(before?.vmId);
    });

    it('lists the machines of the subscription, of all groups, as it describes each', async () => {
      const specs = [newSpec(), newSpec({ resourceGroup: 'Other-RG', luns: [1, 0] })];
      for (const spec of specs) await provider.create(spec);
      const listed = await collect(provider.compute.virtualMachines(provider.subscriptionId));
      for (const spec of specs) {
        const own = listed.filter((machine) => machine.name === spec.name);
        expect(own).toEqual([await provider.compute.virtualMachine(idOf(spec.resourceGroup, spec.name))]);
      }
    });

    it.each([
      '',
      'vm1',
      '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d',
      '/subscriptions/s/resourceGroups/g/providers/Microsoft.ClassicCompute/virtualMachines/v',
      '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v/extensions/e',
    ])('%j is refused as no machine id', async (id) => {
      await expect(provider.compute.virtualMachine(id)).rejects.toMatchObject({
        code: 'InvalidRequest',
        target: 'resourceId',
      });
    });
  });
}
