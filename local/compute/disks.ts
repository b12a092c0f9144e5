import { randomUUID } from 'node:crypto';
import { RestError } from '@azure/storage-blob';
import * as z from 'zod';
import { ArmError, invalidParameter, notAllowed, parseBody } from '../arm/errors.ts';
import { accessUrl, applyPolicies, grantFor, parseAccessRequest } from './access.ts';
import { canonicalLocation } from '../arm/location.ts';
import { tagsSchema } from '../arm/tags.ts';
import { checkName, kept, resourceId } from './context.ts';
import type { ComputeContext, ResourceKind, ResourceRef } from './context.ts';
import { growDiskBlob, hasFooter } from './disk-bytes.ts';
import { createBytes, resolveSource, type DiskSource } from './disk-source.ts';
import { activeAccess, ownerOfDisk, type DiskRecord } from './store.ts';
import { FOOTER_BYTES } from '../../shared/domain/vhd-footer.ts';

const DISK_TYPE = 'Microsoft.Compute/disks';

const GIB = 1024 ** 3;

const skuSchema = z.object({
  name: z.enum([
    'Standard_LRS',
    'Premium_LRS',
    'StandardSSD_LRS',
    'UltraSSD_LRS',
    'Premium_ZRS',
    'StandardSSD_ZRS',
    'PremiumV2_LRS',
  ]),
});

const sizeGB = z.int().min(1).max(32_767);

const putSchema = z.object({
  location: z.string().optional(),
  tags: tagsSchema.nullish(),
  sku: skuSchema.nullish(),
  zones: z.array(z.string()).nullish(),
  properties: z.object({
    creationData: z.looseObject({ createOption: z.string() }),
    diskSizeGB: sizeGB.nullish(),
    osType: z.enum(['Linux', 'Windows']).nullish(),
    hyperVGeneration: z.enum(['V1', 'V2']).nullish(),
  }),
});

const patchSchema = z.object({
  tags: tagsSchema.nullish(),
  sku: skuSchema.nullish(),
  properties: z.object({ diskSizeGB: sizeGB.nullish(), osType: z.enum(['Linux', 'Windows']).nullish() }).nullish(),
});

type DiskPut = z.infer<typeof putSchema>;

/** Managed disks: PUT (Empty, Import, Upload, Copy), GET, PATCH, DELETE, list, beginGetAccess, endGetAccess. */
export function createDisks(context: ComputeContext): ResourceKind {
  const { state, exclusive } = context;
  const { find, require, save } = kept(context, DISK_TYPE, (all) => all.disks);
  const forget = (disk: DiskRecord) =>
    state.update((draft) => {
      delete draft.disks[disk.id.toLowerCase()];
    });

  /** Reserves the name, makes the bytes without holding up other requests, then says that the disk is there. */
  async function create(ref: ResourceRef, put: DiskPut): Promise<DiskRecord> {
    const { disk, source } = await exclusive(async () => {
      const left = find(ref);
      if (left !== undefined && left.provisioningState !== 'Failed') throw conflict(ref.name, 'is being created');
      if (left !== undefined) await removeDisk(context, left);
      const source = await resolveSource(context, put.properties.creationData, put.properties.diskSizeGB ?? undefined);
      return { disk: save(newDisk(context, ref, put, source)), source };
    });
    const container = context.accounts.container(disk.backing.account, disk.backing.container);
    try {
      await container.createIfNotExists();
      await createBytes(context, source, context.accounts.blob(disk.backing));
    } catch (error) {
      await container.deleteIfExists();
      await exclusive(async () => forget(disk));
      if (error instanceof RestError && error.statusCode === 404) {
        throw notAllowed(`The source of disk '${disk.name}' was deleted while it was being copied.`);
      }
      throw error;
    }
    return exclusive(async () => save({ ...disk, provisioningState: 'Succeeded' }));
  }

  async function change(disk: DiskRecord, wish: z.infer<typeof patchSchema>): Promise<DiskRecord> {
    if (disk.provisioningState !== 'Succeeded') throw conflict(disk.name, `is ${disk.provisioningState}`);
    const changed: DiskRecord = { ...disk };
    if (wish.tags !== undefined && wish.tags !== null) changed.tags = wish.tags;
    if (wish.sku !== undefined && wish.sku !== null) changed.sku = wish.sku.name;
    if (wish.properties?.osType) changed.osType = wish.properties.osType;
    const wishedGB = wish.properties?.diskSizeGB;
    // The size as shown is rounded up; sending it back is no wish to grow to the full GiB.
    if (wishedGB !== undefined && wishedGB !== null && wishedGB !== shownSizeGB(disk.sizeBytes)) {
      changed.sizeBytes = wishedGB * GIB;
      await grow(disk, changed.sizeBytes);
    }
    return save(changed);
  }

  async function grow(disk: DiskRecord, toBytes: number): Promise<void> {
    if (toBytes < disk.sizeBytes) {
      throw invalidParameter(
        `Disk '${disk.name}' has ${disk.sizeBytes} bytes and cannot shrink to ${toBytes}: ` +
          'diskSizeGB may only grow. To make it smaller, create another disk and copy its contents.',
      );
    }
    if (disk.upload !== undefined || activeAccess(disk) !== undefined) {
      throw notAllowed(`Disk '${disk.name}' cannot be resized while it is ${diskState(context, disk)}.`);
    }
    const owner = ownerOfDisk(state.value, disk.id);
    if (owner !== undefined && owner.powerState !== 'deallocated') {
      throw notAllowed(`Disk '${disk.name}' cannot be resized while VM '${owner.id}' is not deallocated.`);
    }
    await growDiskBlob(context.accounts.blob(disk.backing), { fromBytes: disk.sizeBytes, toBytes }, context.now());
  }

  return {
    list: (group) =>
      Object.values(state.value.disks)
        .filter((disk) => group === undefined || disk.resourceGroup.toLowerCase() === group.toLowerCase())
        .map((disk) => diskView(context, disk)),

    get: (ref) => diskView(context, require(ref)),

    async put(ref, body) {
      const put = parseBody(putSchema, body);
      canonicalLocation(put.location);
      checkName('disk', ref.name, 80);
      const existing = find(ref);
      if (existing === undefined || existing.provisioningState === 'Failed') {
        context.groups.ensure(ref.resourceGroup);
        return { created: true, resource: diskView(context, await create(ref, put)) };
      }
      return exclusive(async () => {
        const disk = require(ref);
        checkUnchanged(disk, put);
        return { created: false, resource: diskView(context, await change(disk, put)) };
      });
    },

    patch: (ref, body) => {
      const wish = parseBody(patchSchema, body);
      return exclusive(async () => diskView(context, await change(require(ref), wish)));
    },

    remove: (ref) =>
      exclusive(async () => {
        const disk = find(ref);
        if (disk === undefined) return false;
        checkRemovable(context, disk);
        await removeDisk(context, disk);
        return true;
      }),

    actions: {
      begingetaccess: async (ref, body) => {
        const request = parseAccessRequest(body);
        return exclusive(async () => {
          const disk = require(ref);
          checkAccess(context, disk, request.access);
          const access = grantFor(disk, request);
          await applyPolicies(context, disk.backing, { id: disk.id, access });
          save({ ...disk, access, ...(disk.upload === undefined ? {} : { upload: 'ActiveUpload' as const }) });
          return { accessSAS: accessUrl(context, disk, access) };
        });
      },
      endgetaccess: (ref) =>
        exclusive(async () => {
          const { access: _, upload, ...disk } = require(ref);
          await applyPolicies(context, disk.backing, { id: disk.id, access: undefined });
          // A bad upload can be mended: the disk waits for its bytes again.
          const bad = upload === 'ActiveUpload' && !(await isUploaded(context, disk));
          save(upload === 'ReadyToUpload' || bad ? { ...disk, upload: 'ReadyToUpload' } : disk);
          if (bad) throw invalidVhd(disk);
          return undefined;
        }),
    },
  };
}

/** Deletes a disk's record and its bytes; bytes that snapshots still need stay until the last of them goes. */
export async function removeDisk(context: ComputeContext, disk: DiskRecord): Promise<void> {
  const { account, container } = disk.backing;
  const needed = Object.values(context.state.value.snapshots).some((other) => other.backing.container === container);
  if (!needed) await context.accounts.container(account, container).deleteIfExists();
  context.state.update((draft) => {
    delete draft.disks[disk.id.toLowerCase()];
  });
}

/** Attached says whose the disk is; below that an open SAS; else nobody's. */
function diskState(context: ComputeContext, disk: DiskRecord): string {
  if (disk.upload !== undefined) return disk.upload;
  const owner = ownerOfDisk(context.state.value, disk.id);
  if (owner !== undefined && owner.powerState !== 'deallocated') return 'Attached';
  if (activeAccess(disk) !== undefined) return 'ActiveSAS';
  return owner === undefined ? 'Unattached' : 'Reserved';
}

/** Whole GiB, rounded up, as the service shows it. */
export function shownSizeGB(sizeBytes: number): number {
  return Math.ceil(sizeBytes / GIB);
}

function newDisk(context: ComputeContext, ref: ResourceRef, put: DiskPut, source: DiskSource): DiskRecord {
  const uniqueId = randomUUID();
  const osType = put.properties.osType ?? source.osType;
  const hyperVGeneration = put.properties.hyperVGeneration ?? source.hyperVGeneration;
  return {
    id: resourceId(context, DISK_TYPE, ref),
    name: ref.name,
    resourceGroup: context.groups.ensure(ref.resourceGroup).name,
    location: canonicalLocation(put.location),
    timeCreated: new Date(context.now()).toISOString(),
    uniqueId,
    sku: put.sku?.name ?? 'Standard_LRS',
    creationData: source.creationData,
    sizeBytes: source.sizeBytes,
    provisioningState: 'Creating',
    backing: { account: context.accounts.managedDiskAccount, container: `md-${uniqueId}`, blob: 'abcd' },
    ...(put.tags ? { tags: put.tags } : {}),
    ...(put.zones ? { zones: put.zones } : {}),
    ...(osType === undefined ? {} : { osType }),
    ...(hyperVGeneration === undefined ? {} : { hyperVGeneration }),
    ...(source.kind === 'upload' ? { upload: 'ReadyToUpload' as const } : {}),
  };
}

function diskView(context: ComputeContext, disk: DiskRecord): object {
  const owner = ownerOfDisk(context.state.value, disk.id);
  return {
    id: disk.id,
    name: disk.name,
    type: DISK_TYPE,
    location: disk.location,
    tags: disk.tags,
    zones: disk.zones,
    sku: { name: disk.sku, tier: disk.sku.split(/SSD|V2|_/)[0] },
    managedBy: owner?.id,
    properties: {
      provisioningState: disk.provisioningState,
      timeCreated: disk.timeCreated,
      osType: disk.osType,
      hyperVGeneration: disk.hyperVGeneration,
      creationData: disk.creationData,
      diskSizeGB: shownSizeGB(disk.sizeBytes),
      diskSizeBytes: disk.sizeBytes,
      uniqueId: disk.uniqueId,
      diskState: diskState(context, disk),
      encryption: { type: 'EncryptionAtRestWithPlatformKey' },
      networkAccessPolicy: 'AllowAll',
      publicNetworkAccess: 'Enabled',
    },
  };
}

/** What a disk is made from is for ever; a second PUT may repeat it but not change it. */
function checkUnchanged(disk: DiskRecord, put: DiskPut): void {
  const wanted: Record<string, unknown> = put.properties.creationData;
  const differing = Object.keys(wanted).find((key) => {
    const was = disk.creationData[key];
    return was !== undefined && JSON.stringify(wanted[key]).toLowerCase() !== JSON.stringify(was).toLowerCase();
  });
  if (differing === undefined && canonicalLocation(put.location) === disk.location) return;
  const property = differing === undefined ? 'location' : `creationData.${differing}`;
  throw new ArmError(
    409,
    'PropertyChangeNotAllowed',
    `Changing property '${property}' of disk '${disk.name}' is not allowed.`,
  );
}

function checkRemovable(context: ComputeContext, disk: DiskRecord): void {
  const owner = ownerOfDisk(context.state.value, disk.id);
  if (owner !== undefined) throw notAllowed(`Disk '${disk.name}' is attached to VM '${owner.id}'.`);
  if (disk.provisioningState === 'Creating') throw conflict(disk.name, 'is being created');
  if (activeAccess(disk) !== undefined) {
    throw notAllowed(
      `There is an active shared access signature outstanding for disk '${disk.name}'. ` +
        'Call EndGetAccess before deleting the disk.',
    );
  }
}

/**
 * Read is for a disk at rest, as in the service. Write the service gives to disks made by Upload alone, and only until the
 * upload has ended; here any other disk takes it too, attached or not, in place of the guest that would write to it.
 */
function checkAccess(context: ComputeContext, disk: DiskRecord, level: 'Read' | 'Write'): void {
  if (disk.provisioningState !== 'Succeeded') throw conflict(disk.name, `is ${disk.provisioningState}`);
  if (level === 'Write') {
    if (disk.upload !== undefined || disk.creationData['createOption'] !== 'Upload') return;
    throw notAllowed(
      `Disk '${disk.name}' is ${diskState(context, disk)}: its upload has ended, so that access for Write cannot be granted.`,
    );
  }
  const state = diskState(context, disk);
  if (disk.upload !== undefined) {
    throw notAllowed(`Disk '${disk.name}' is ${state}: ask for Write, upload its bytes and call EndGetAccess first.`);
  }
  if (state === 'Attached') {
    throw notAllowed(
      `Disk '${disk.name}' is attached to a running VM, so that access for Read cannot be granted. ` +
        'Deallocate the VM, or take a snapshot and read that.',
    );
  }
}

function isUploaded(context: ComputeContext, disk: { backing: DiskRecord['backing']; sizeBytes: number }) {
  return hasFooter(context.accounts.blob(disk.backing), disk.sizeBytes + FOOTER_BYTES);
}

function invalidVhd(disk: { name: string; sizeBytes: number }): ArmError {
  return new ArmError(
    400,
    'InvalidVhd',
    `The specified cookie value in VHD footer indicates that disk '${disk.name}' is not a supported VHD. ` +
      `Disk is expected to have cookie value 'conectix' and a right checksum in its footer, the 512 bytes ` +
      `at offset ${disk.sizeBytes}. Ask for Write access again to mend it.`,
  );
}

function conflict(name: string, state: string): ArmError {
  return new ArmError(409, 'Conflict', `Disk '${name}' ${state}; try again when that has ended, or delete it.`);
}
