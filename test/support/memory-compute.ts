import type { Compute, VirtualMachine } from '../../shared/compute/compute.ts';
import { parseVirtualMachineId } from '../../shared/compute/vm-id.ts';
import { BackupError } from '../../shared/domain/errors.ts';

/** A compute provider in memory, and the hands of its administrator. */
export interface MemoryCompute extends Compute {
  /** Creates the machine, or puts it in the place of the one with the same id. Disks may come in any order. */
  put(machine: VirtualMachine): void;
  delete(resourceId: string): void;
  /** From now on every call fails, until `comeBack`. */
  goAway(): void;
  comeBack(): void;
}

export function memoryCompute(...machines: VirtualMachine[]): MemoryCompute {
  const byId = new Map<string, VirtualMachine>();
  let away = false;
  const keyOf = (resourceId: string): string => {
    const { subscriptionId, resourceGroup, name } = parseVirtualMachineId(resourceId);
    return [subscriptionId, resourceGroup, name].join('/').toLowerCase();
  };
  const checkThere = (): void => {
    if (away) throw new BackupError('ComputeUnavailable', 'Compute does not answer');
  };
  const compute: MemoryCompute = {
    async virtualMachine(resourceId) {
      const key = keyOf(resourceId);
      checkThere();
      return structuredClone(byId.get(key));
    },
    async *virtualMachines(subscriptionId) {
      checkThere();
      for (const machine of byId.values()) {
        const own = parseVirtualMachineId(machine.id).subscriptionId;
        if (own.toLowerCase() === subscriptionId.toLowerCase()) yield structuredClone(machine);
      }
    },
    put(machine) {
      const disks = machine.disks.toSorted((a, b) => a.lun - b.lun);
      byId.set(keyOf(machine.id), structuredClone({ ...machine, disks }));
    },
    delete(resourceId) {
      byId.delete(keyOf(resourceId));
    },
    goAway() {
      away = true;
    },
    comeBack() {
      away = false;
    },
  };
  for (const machine of machines) compute.put(machine);
  return compute;
}
