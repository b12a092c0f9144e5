import { join } from 'node:path';
import * as z from 'zod';
import { openJsonFile, type JsonFile } from '../arm/json-file.ts';

/** Where a disk's bytes are: a page blob of the disk plus its 512-byte VHD footer. */
const backingSchema = z.object({ account: z.string(), container: z.string(), blob: z.string() });

/** An access granted by beginGetAccess. `id` names the stored access policy that the SAS refers to. */
const accessSchema = z.object({
  id: z.string(),
  level: z.enum(['Read', 'Write']),
  /** Milliseconds since 1970 by the system's clock, not the platform's: storage judges the SAS by real time. */
  expiresAtMs: z.number(),
});

const tags = z.record(z.string(), z.string());
const looseObject = z.record(z.string(), z.unknown());

/** What every resource has. `id` is in the case of its first use; keys of the maps are ids in lower case. */
const resource = {
  id: z.string(),
  name: z.string(),
  resourceGroup: z.string(),
  location: z.string(),
  tags: tags.optional(),
  timeCreated: z.string(),
};

const diskResource = {
  ...resource,
  uniqueId: z.string(),
  sku: z.string(),
  osType: z.string().optional(),
  hyperVGeneration: z.string().optional(),
  creationData: looseObject,
  /** Bytes of the disk itself, without the footer. */
  sizeBytes: z.number(),
  access: accessSchema.optional(),
};

const diskSchema = z.object({
  ...diskResource,
  zones: z.array(z.string()).optional(),
  /** `Creating` in a file that is being opened means that the process died meanwhile. */
  provisioningState: z.enum(['Creating', 'Succeeded', 'Failed']),
  /** Set only while a disk made by Upload waits for its bytes. */
  upload: z.enum(['ReadyToUpload', 'ActiveUpload']).optional(),
  /** Shared by all incremental snapshots of the disk; given with the first. */
  snapshotFamilyId: z.string().optional(),
  backing: backingSchema,
});

const snapshotSchema = z.object({
  ...diskResource,
  incremental: z.boolean(),
  snapshotFamilyId: z.string().optional(),
  /** `snapshot` is the time by which storage names the blob's snapshot. */
  backing: backingSchema.extend({ snapshot: z.string() }),
});

const attachedDiskSchema = z.looseObject({
  name: z.string(),
  createOption: z.literal('Attach'),
  vhd: z.object({ uri: z.string() }).optional(),
  managedDisk: z.looseObject({ id: z.string() }).optional(),
});

const virtualMachineSchema = z.object({
  ...resource,
  vmId: z.string(),
  zones: z.array(z.string()).optional(),
  identity: looseObject.optional(),
  powerState: z.enum(['running', 'stopped', 'deallocated']),
  osDisk: attachedDiskSchema.extend({ osType: z.enum(['Linux', 'Windows']) }),
  dataDisks: z.array(attachedDiskSchema.extend({ lun: z.number() })),
  /** The other properties, as the client gave them. */
  properties: looseObject,
});

const stateSchema = z.object({
  version: z.literal(1),
  virtualMachines: z.record(z.string(), virtualMachineSchema),
  disks: z.record(z.string(), diskSchema),
  snapshots: z.record(z.string(), snapshotSchema),
});

export type Access = z.infer<typeof accessSchema>;
export type AttachedDisk = z.infer<typeof attachedDiskSchema>;
export type ComputeState = z.infer<typeof stateSchema>;
export type DiskRecord = z.infer<typeof diskSchema>;
export type SnapshotRecord = z.infer<typeof snapshotSchema>;
export type VirtualMachineRecord = z.infer<typeof virtualMachineSchema>;

/** Opens the emulator's state. A disk whose making was cut off by the end of the process is `Failed`: delete or PUT it again. */
export function openComputeState(dataDir: string): JsonFile<ComputeState> {
  const file = openJsonFile(join(dataDir, 'compute.json'), stateSchema, () => ({
    version: 1 as const,
    virtualMachines: {},
    disks: {},
    snapshots: {},
  }));
  if (Object.values<DiskRecord>(file.value.disks).some((disk) => disk.provisioningState === 'Creating')) {
    file.update((draft) => {
      for (const disk of Object.values<DiskRecord>(draft.disks)) {
        if (disk.provisioningState === 'Creating') disk.provisioningState = 'Failed';
      }
    });
  }
  return file;
}

/** The grant if its time has not passed. */
export function activeAccess(record: { access?: Access | undefined }): Access | undefined {
  return record.access !== undefined && record.access.expiresAtMs > Date.now() ? record.access : undefined;
}

/** All disks of a VM, the OS disk first. */
export function attachedDisks(vm: VirtualMachineRecord): AttachedDisk[] {
  return [vm.osDisk, ...vm.dataDisks];
}

/** The VM that has the disk. Attachment is recorded with the VM alone, so that the two can never disagree. */
export function ownerOfDisk(state: ComputeState, diskId: string): VirtualMachineRecord | undefined {
  const wanted = diskId.toLowerCase();
  return Object.values(state.virtualMachines).find((vm) =>
    attachedDisks(vm).some((disk) => disk.managedDisk?.id.toLowerCase() === wanted),
  );
}
