import { ComputeManagementClient } from '@azure/arm-compute';
import type { TokenCredential } from '@azure/identity';
import { type CallPace, pacedCalls } from '../azure/compute-calls.ts';
import { BackupError } from '../domain/errors.ts';
import type { AttachedDisk, Compute, VirtualMachine } from './compute.ts';
import { parseVirtualMachineId } from './vm-id.ts';

export interface AzureComputeOptions {
  /** Where ARM answers, such as `https://management.azure.com`; https, since a token goes with every call. */
  readonly endpoint: string;
  readonly credential: TokenCredential;
  /** Lists only the machines of this region, in either of its spellings: a vault protects its own region's machines. */
  readonly location?: string;
  /** Holds calls back while Compute refuses them. */
  readonly calls?: CallPace;
}

type SdkMachine = Awaited<ReturnType<ComputeManagementClient['virtualMachines']['get']>>;
type SdkDisk = Pick<NonNullable<NonNullable<SdkMachine['storageProfile']>['osDisk']>, 'name' | 'vhd' | 'managedDisk'>;

const OS_DISK_LUN = -1;

// Compute's throttling answers say how long to wait (the SDK obeys); the rest is over in seconds or it is an outage.
const RETRY_OPTIONS = { maxRetries: 4, retryDelayInMs: 200, maxRetryDelayInMs: 5_000 };
const CALL_TIMEOUT_MS = 60_000;

/** The compute provider behind Azure Resource Manager. A 404 without an ARM error code is no answer of ARM's, so no absence. */
export function azureCompute({ endpoint, credential, location, calls }: AzureComputeOptions): Compute {
  const clients = new Map<string, ComputeManagementClient>();
  const clientOf = (subscriptionId: string): ComputeManagementClient => {
    const key = subscriptionId.toLowerCase();
    const known = clients.get(key);
    if (known !== undefined) return known;
    const made = new ComputeManagementClient(credential, subscriptionId, {
      endpoint,
      retryOptions: RETRY_OPTIONS,
      ...pacedCalls(calls),
    });
    clients.set(key, made);
    return made;
  };

  return {
    async virtualMachine(resourceId) {
      const { subscriptionId, resourceGroup, name } = parseVirtualMachineId(resourceId);
      try {
        const abortSignal = AbortSignal.timeout(CALL_TIMEOUT_MS);
        return machineOf(await clientOf(subscriptionId).virtualMachines.get(resourceGroup, name, { abortSignal }));
      } catch (error) {
        const { statusCode, code } = error as { statusCode?: number; code?: string };
        if (statusCode === 404 && code !== undefined) return undefined;
        throw unavailable(error, `reading ${resourceId}`);
      }
    },

    async *virtualMachines(subscriptionId) {
      const machines = clientOf(subscriptionId).virtualMachines.listAll();
      for (;;) {
        let next;
        try {
          next = await machines.next();
        } catch (error) {
          throw unavailable(error, `listing the virtual machines of subscription ${subscriptionId}`);
        }
        if (next.done === true) return;
        const machine = machineOf(next.value);
        if (location === undefined || regionName(machine.location) === regionName(location)) yield machine;
      }
    },
  };
}

/** `West Europe` and `westeurope` are the same region. */
function regionName(location: string): string {
  return location.replaceAll(' ', '').toLowerCase();
}

/** Names and ids come from the answer, never from the question: the caller's spelling of them may differ in case. */
function machineOf(machine: SdkMachine): VirtualMachine {
  const need = <Value>(value: Value | undefined | null, field: string): Value => {
    if (value !== undefined && value !== null) return value;
    throw new BackupError(
      'ComputeUnavailable',
      `Compute described ${machine.id ?? 'a virtual machine'} without ${field}`,
    );
  };
  const id = need(machine.id, 'id');
  const profile = need(machine.storageProfile, 'storageProfile');
  const osDisk = need(profile.osDisk, 'storageProfile.osDisk');
  const dataDisks = (profile.dataDisks ?? []).toSorted((a, b) => a.lun - b.lun);
  return {
    id,
    vmId: need(machine.vmId, 'vmId'),
    name: need(machine.name, 'name'),
    resourceGroup: parseVirtualMachineId(id).resourceGroup,
    location: machine.location,
    size: need(machine.hardwareProfile?.vmSize, 'hardwareProfile.vmSize'),
    osType: need(osDisk.osType, 'storageProfile.osDisk.osType') === 'Windows' ? 'Windows' : 'Linux',
    disks: [
      attached(OS_DISK_LUN, osDisk, need(osDisk.name, 'storageProfile.osDisk.name')),
      ...dataDisks.map((disk) => attached(disk.lun, disk, need(disk.name, `the name of the disk at LUN ${disk.lun}`))),
    ],
  };
}

function attached(lun: number, disk: SdkDisk, name: string): AttachedDisk {
  return { lun, name, vhdUrl: disk.vhd?.uri, managedDiskId: disk.managedDisk?.id };
}

function unavailable(error: unknown, what: string): BackupError {
  if (error instanceof BackupError) return error;
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  const answer = [statusCode, code, error instanceof Error ? error.message : String(error)].filter(Boolean).join(' ');
  return new BackupError('ComputeUnavailable', `${what}: ${answer}`, { cause: error });
}
