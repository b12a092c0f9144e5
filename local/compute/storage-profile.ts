import * as z from 'zod';
import { ArmError, invalidParameter, notAllowed } from '../arm/errors.ts';
import type { ComputeContext } from './context.ts';
import { pageBlobBytes } from './disk-source.ts';
import { shownSizeGB } from './disks.ts';
import {
  activeAccess,
  attachedDisks,
  ownerOfDisk,
  type AttachedDisk,
  type DiskRecord,
  type VirtualMachineRecord,
} from './store.ts';

const attachOnly = z.literal(
  'Attach',
  "must be 'Attach': the local platform makes no disks for a VM, create the blob or the disk resource first",
);

const diskSchema = z.looseObject({
  name: z.string().nullish(),
  createOption: attachOnly,
  caching: z.enum(['None', 'ReadOnly', 'ReadWrite']).nullish(),
  vhd: z.object({ uri: z.string() }).nullish(),
  managedDisk: z.looseObject({ id: z.string() }).nullish(),
  deleteOption: z.enum(['Delete', 'Detach']).nullish(),
});

/** The highest LUN a VM of any size has (64 data disks). */
const MAX_LUN = 63;

export const storageProfileSchema = z.looseObject({
  osDisk: diskSchema.extend({ osType: z.enum(['Linux', 'Windows'], "must be 'Linux' or 'Windows'") }),
  dataDisks: z.array(diskSchema.extend({ lun: z.int().min(0).max(MAX_LUN) })).nullish(),
});

export type StorageProfile = z.infer<typeof storageProfileSchema>;
type RequestedDisk = z.infer<typeof diskSchema>;

/**
 * The disks of a VM's PUT, each found and free.
 * @throws ArmError for a blob or disk that is missing, of another kind, or in use by another VM or twice by this one.
 */
export async function resolveStorageProfile(
  context: ComputeContext,
  vm: { id: string; name: string; location: string },
  profile: StorageProfile,
): Promise<Pick<VirtualMachineRecord, 'osDisk' | 'dataDisks'>> {
  const requested = [profile.osDisk, ...(profile.dataDisks ?? [])];
  checkKinds(requested);
  checkLuns(profile.dataDisks ?? []);
  const used = usedBlobs(context, vm.id);
  const resolve = async (disk: RequestedDisk, where: string): Promise<AttachedDisk> =>
    disk.vhd
      ? attachBlob(context, used, disk, disk.vhd.uri, where)
      : attachManaged(context, vm, disk, disk.managedDisk?.id ?? '', where);

  const os = profile.osDisk;
  const osDisk = { caching: 'ReadWrite', ...(await resolve(os, 'osDisk')), osType: os.osType };
  const dataDisks: VirtualMachineRecord['dataDisks'] = [];
  for (const [index, disk] of (profile.dataDisks ?? []).entries()) {
    dataDisks.push({ caching: 'None', ...(await resolve(disk, `dataDisks[${index}]`)), lun: disk.lun });
  }
  const ids = [osDisk, ...dataDisks].flatMap((disk) => disk.managedDisk?.id.toLowerCase() ?? []);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw invalidParameter(`Disk '${twice}' is attached more than once to VM '${vm.name}'.`);
  return { osDisk, dataDisks };
}

/** Azure takes no new mixture of the two kinds in one VM; here it may be tried what becomes of a VM that has one. */
function checkKinds(disks: RequestedDisk[]): void {
  for (const disk of disks) {
    if (!disk.vhd === !disk.managedDisk) {
      throw invalidParameter(
        `Disk '${disk.name ?? ''}' must have either 'vhd.uri' (an unmanaged disk) or 'managedDisk.id', and not both.`,
      );
    }
  }
}

function checkLuns(disks: { lun: number }[]): void {
  const luns = disks.map((disk) => disk.lun);
  const twice = luns.find((lun, index) => luns.indexOf(lun) !== index);
  if (twice !== undefined) {
    throw invalidParameter(`The value '${twice}' of parameter 'dataDisk.lun' is used by more than one data disk.`);
  }
}

/** Every blob in use by a VM other than `vmId`: its place, and the VM's id. */
function usedBlobs(context: ComputeContext, vmId: string): Map<string, string> {
  const used = new Map<string, string>();
  for (const vm of Object.values(context.state.value.virtualMachines)) {
    if (vm.id.toLowerCase() === vmId.toLowerCase()) continue;
    for (const disk of attachedDisks(vm)) {
      // Compared by path, since a restart on other ports changes the host of the same blob.
      if (disk.vhd !== undefined) used.set(decodeURIComponent(new URL(disk.vhd.uri).pathname), vm.id);
    }
  }
  return used;
}

async function attachBlob(
  context: ComputeContext,
  used: Map<string, string>,
  disk: RequestedDisk,
  uri: string,
  where: string,
): Promise<AttachedDisk> {
  const location = context.accounts.locate(`'${where}.vhd.uri'`, uri);
  if (new URL(uri).search !== '') {
    throw invalidParameter(
      `The value of parameter '${where}.vhd.uri' is invalid: '${uri}' must be the blob's plain URL, without a query.`,
    );
  }
  const name = disk.name ?? location.blob.replace(/^.*\//, '').replace(/\.vhd$/i, '');
  const blobBytes = await pageBlobBytes(context.accounts.blob(location), uri);
  const path = decodeURIComponent(new URL(uri).pathname);
  const owner = used.get(path);
  if (owner !== undefined) {
    throw new ArmError(
      409,
      'AcquireDiskLeaseFailed',
      `Failed to acquire lease while creating disk '${name}' using blob with URI '${uri}'. ` +
        `Blob is already in use by '${owner}'.`,
    );
  }
  used.set(path, 'another disk of the same VM');
  return {
    ...defined(disk),
    name,
    createOption: 'Attach',
    vhd: { uri },
    diskSizeGB: shownSizeGB(blobBytes),
  };
}

function attachManaged(
  context: ComputeContext,
  vm: { id: string; name: string; location: string },
  disk: RequestedDisk,
  id: string,
  where: string,
): AttachedDisk {
  const found = context.state.value.disks[id.toLowerCase()];
  if (found === undefined)
    throw new ArmError(404, 'NotFound', `Disk '${id}' ('${where}.managedDisk.id') is not found.`);
  checkAttachable(context, vm, found);
  return {
    ...defined(disk),
    name: found.name,
    createOption: 'Attach',
    managedDisk: { id: found.id, storageAccountType: found.sku },
    deleteOption: disk.deleteOption ?? 'Detach',
    diskSizeGB: shownSizeGB(found.sizeBytes),
  };
}

function checkAttachable(context: ComputeContext, vm: { id: string; location: string }, disk: DiskRecord): void {
  const owner = ownerOfDisk(context.state.value, disk.id);
  if (owner !== undefined && owner.id.toLowerCase() === vm.id.toLowerCase()) return;
  if (owner !== undefined) {
    throw new ArmError(
      409,
      'ConflictingUserInput',
      `Disk '${disk.id}' cannot be attached as the disk is already owned by VM '${owner.id}'.`,
    );
  }
  if (disk.provisioningState !== 'Succeeded' || disk.upload !== undefined) {
    throw notAllowed(
      `Disk '${disk.name}' is ${disk.upload ?? disk.provisioningState} and cannot be attached before that has ended.`,
    );
  }
  if (activeAccess(disk) !== undefined) {
    throw notAllowed(
      `There is an active shared access signature outstanding for disk '${disk.name}'. ` +
        'Call EndGetAccess before attaching this disk to a VM.',
    );
  }
  if (disk.location !== vm.location) {
    throw invalidParameter(`Disk '${disk.name}' is in '${disk.location}' and the VM in '${vm.location}'.`);
  }
}

/** The disk as sent, without the fields that were null or are set anew. */
function defined(disk: RequestedDisk): Record<string, unknown> {
  const own = new Set(['name', 'createOption', 'vhd', 'managedDisk', 'diskSizeGB', 'lun', 'osType']);
  return Object.fromEntries(
    Object.entries(disk).filter(([key, value]) => !own.has(key) && value !== null && value !== undefined),
  );
}
