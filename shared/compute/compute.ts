/** A disk of a VM as the compute provider describes it. */
export interface AttachedDisk {
  /** The data disk's LUN, or -1 for the OS disk (the service's own convention). */
  readonly lun: number;
  readonly name: string;
  /** The page blob's URL of an unmanaged disk; undefined for a managed one. */
  readonly vhdUrl: string | undefined;
  /** The resource id of a managed disk; undefined for an unmanaged one. */
  readonly managedDiskId: string | undefined;
}

/** Where the disk lies: what names it to DiskSnapshots. Undefined for a kind of disk that is neither. */
export function placeOf({ vhdUrl, managedDiskId }: AttachedDisk): string | undefined {
  return vhdUrl ?? managedDiskId?.toLowerCase();
}

/** A virtual machine, as far as backup is concerned. */
export interface VirtualMachine {
  readonly id: string;
  /** Compute's own id of the machine: a VM re-created under the same name has another one. */
  readonly vmId: string;
  readonly name: string;
  readonly resourceGroup: string;
  readonly location: string;
  readonly size: string;
  readonly osType: 'Windows' | 'Linux';
  /** The OS disk first, data disks by LUN. */
  readonly disks: readonly AttachedDisk[];
}

/** The compute provider. Passes computeContract. */
export interface Compute {
  /** Resolves undefined when there is no such VM. @throws BackupError ComputeUnavailable */
  virtualMachine(resourceId: string): Promise<VirtualMachine | undefined>;
  /** Yields the VMs of the subscription. */
  virtualMachines(subscriptionId: string): AsyncIterable<VirtualMachine>;
}
