import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { ArmError, invalidParameter, notAllowed, parseBody } from '../arm/errors.ts';
import { accessUrl, applyPolicies, checkFamilyLimit, grantFor, parseAccessRequest } from './access.ts';
import { canonicalLocation } from '../arm/location.ts';
import { tagsSchema } from '../arm/tags.ts';
import { checkName, kept, resourceId } from './context.ts';
import type { ComputeContext, ResourceKind, ResourceRef } from './context.ts';
import { checkCopyable } from './disk-source.ts';
import { shownSizeGB } from './disks.ts';
import { activeAccess, type DiskRecord, type SnapshotRecord } from './store.ts';

const SNAPSHOT_TYPE = 'Microsoft.Compute/snapshots';

const putSchema = z.object({
  location: z.string().optional(),
  tags: tagsSchema.nullish(),
  sku: z.object({ name: z.enum(['Standard_LRS', 'Standard_ZRS', 'Premium_LRS']) }).nullish(),
  properties: z.object({
    incremental: z.boolean().nullish(),
    creationData: z.object({
      createOption: z.literal('Copy', "must be 'Copy': the local platform takes snapshots of disks alone"),
      sourceResourceId: z.string(),
    }),
  }),
});

const patchSchema = z.object({ tags: tagsSchema.nullish() });

type SnapshotPut = z.infer<typeof putSchema>;

/**
 * Snapshots of managed disks. Each is a snapshot of the disk's page blob: it never changes while the disk is written on,
 * and two of one disk can be compared by Get Page Ranges with `x-ms-previous-snapshot-url`. It outlives its disk.
 */
export function createSnapshots(context: ComputeContext): ResourceKind {
  const { state, exclusive } = context;
  const { find, require, save } = kept(context, SNAPSHOT_TYPE, (all) => all.snapshots);

  async function create(ref: ResourceRef, put: SnapshotPut): Promise<SnapshotRecord> {
    const disk = sourceDisk(context, put);
    checkName('snapshot', ref.name, 80);
    const group = context.groups.ensure(ref.resourceGroup);
    const { snapshot } = await context.accounts.blob(disk.backing).createSnapshot();
    if (snapshot === undefined) throw new Error(`storage named no snapshot of disk '${disk.id}'`);
    const incremental = put.properties.incremental ?? false;
    const familyId = incremental ? (disk.snapshotFamilyId ?? randomUUID()) : undefined;
    const record: SnapshotRecord = {
      id: resourceId(context, SNAPSHOT_TYPE, ref),
      name: ref.name,
      resourceGroup: group.name,
      location: disk.location,
      timeCreated: new Date(timeOfNext(context, disk)).toISOString(),
      uniqueId: randomUUID(),
      sku: put.sku?.name ?? 'Standard_LRS',
      creationData: { createOption: 'Copy', sourceResourceId: disk.id, sourceUniqueId: disk.uniqueId },
      sizeBytes: disk.sizeBytes,
      incremental,
      backing: { ...disk.backing, snapshot },
      ...(put.tags ? { tags: put.tags } : {}),
      ...(familyId === undefined ? {} : { snapshotFamilyId: familyId }),
      ...(disk.osType === undefined ? {} : { osType: disk.osType }),
      ...(disk.hyperVGeneration === undefined ? {} : { hyperVGeneration: disk.hyperVGeneration }),
    };
    state.update((draft) => {
      draft.snapshots[record.id.toLowerCase()] = record;
      const source = draft.disks[disk.id.toLowerCase()];
      if (source !== undefined && familyId !== undefined) source.snapshotFamilyId = familyId;
    });
    return record;
  }

  return {
    list: (group) =>
      Object.values(state.value.snapshots)
        .filter((snapshot) => group === undefined || snapshot.resourceGroup.toLowerCase() === group.toLowerCase())
        .map(snapshotView),

    get: (ref) => snapshotView(require(ref)),

    put: (ref, body) => {
      const put = parseBody(putSchema, body);
      canonicalLocation(put.location);
      return exclusive(async () => {
        const existing = find(ref);
        if (existing === undefined) return { created: true, resource: snapshotView(await create(ref, put)) };
        // A second PUT never takes another picture: it changes the tags of the one that is there.
        checkUnchanged(existing, put);
        return { created: false, resource: snapshotView(save(put.tags ? { ...existing, tags: put.tags } : existing)) };
      });
    },

    patch: (ref, body) => {
      const { tags } = parseBody(patchSchema, body);
      return exclusive(async () => {
        const snapshot = require(ref);
        return snapshotView(save(tags ? { ...snapshot, tags } : snapshot));
      });
    },

    remove: (ref) =>
      exclusive(async () => {
        const snapshot = find(ref);
        if (snapshot === undefined) return false;
        await removeSnapshot(context, snapshot);
        return true;
      }),

    actions: {
      begingetaccess: async (ref, body) => {
        const request = parseAccessRequest(body);
        if (request.access !== 'Read') throw invalidParameter("'access' must be 'Read': a snapshot cannot be written.");
        return exclusive(async () => {
          const snapshot = require(ref);
          checkFamilyLimit(context, snapshot);
          const access = grantFor(snapshot, request);
          await applyPolicies(context, snapshot.backing, { id: snapshot.id, access });
          save({ ...snapshot, access });
          return { accessSAS: accessUrl(context, snapshot, access) };
        });
      },
      endgetaccess: (ref) =>
        exclusive(async () => {
          const { access: _, ...snapshot } = require(ref);
          await applyPolicies(context, snapshot.backing, { id: snapshot.id, access: undefined });
          save(snapshot);
          return undefined;
        }),
    },
  };
}

function sourceDisk(context: ComputeContext, put: SnapshotPut): DiskRecord {
  const id = put.properties.creationData.sourceResourceId;
  const disk = context.state.value.disks[id.toLowerCase()];
  if (disk === undefined) {
    throw new ArmError(404, 'NotFound', `There is no disk '${id}' ('creationData.sourceResourceId').`);
  }
  checkCopyable(disk);
  if (canonicalLocation(put.location) !== disk.location) {
    throw invalidParameter(`A snapshot must be in its disk's location '${disk.location}', not in '${put.location}'.`);
  }
  return disk;
}

/**
 * Now, or just after the disk's newest snapshot, so that the times of one disk's snapshots are in order and differ. By the system's time,
 * which is the storage's too: a set of snapshots is of one moment while the platform's clock is moved on.
 */
function timeOfNext(context: ComputeContext, disk: DiskRecord): number {
  const earlier = Object.values(context.state.value.snapshots)
    .filter((snapshot) => snapshot.backing.container === disk.backing.container)
    .map((snapshot) => Date.parse(snapshot.timeCreated) + 1);
  return Math.max(Date.now(), ...earlier);
}

async function removeSnapshot(context: ComputeContext, snapshot: SnapshotRecord): Promise<void> {
  if (activeAccess(snapshot) !== undefined) {
    throw notAllowed(
      `There is an active shared access signature outstanding for snapshot '${snapshot.name}'. ` +
        'Call EndGetAccess before deleting the snapshot.',
    );
  }
  const { disks, snapshots } = context.state.value;
  const { account, container } = snapshot.backing;
  const needed = [...Object.values(disks), ...Object.values(snapshots)].some(
    (other) => other.id !== snapshot.id && other.backing.container === container,
  );
  if (needed) await context.accounts.blob(snapshot.backing).deleteIfExists();
  else await context.accounts.container(account, container).deleteIfExists();
  context.state.update((draft) => {
    delete draft.snapshots[snapshot.id.toLowerCase()];
  });
}

function checkUnchanged(snapshot: SnapshotRecord, put: SnapshotPut): void {
  const { creationData, incremental } = put.properties;
  const sameSource =
    creationData.sourceResourceId.toLowerCase() === String(snapshot.creationData['sourceResourceId']).toLowerCase();
  if (sameSource && (incremental ?? false) === snapshot.incremental) return;
  throw new ArmError(
    409,
    'PropertyChangeNotAllowed',
    `Changing property '${sameSource ? 'incremental' : 'creationData.sourceResourceId'}' of snapshot ` +
      `'${snapshot.name}' is not allowed. Delete it first, or use another name.`,
  );
}

function snapshotView(snapshot: SnapshotRecord): object {
  return {
    id: snapshot.id,
    name: snapshot.name,
    type: SNAPSHOT_TYPE,
    location: snapshot.location,
    tags: snapshot.tags,
    sku: { name: snapshot.sku, tier: snapshot.sku.split('_')[0] },
    properties: {
      provisioningState: 'Succeeded',
      timeCreated: snapshot.timeCreated,
      osType: snapshot.osType,
      hyperVGeneration: snapshot.hyperVGeneration,
      creationData: snapshot.creationData,
      diskSizeGB: shownSizeGB(snapshot.sizeBytes),
      diskSizeBytes: snapshot.sizeBytes,
      uniqueId: snapshot.uniqueId,
      diskState: activeAccess(snapshot) === undefined ? 'Unattached' : 'ActiveSAS',
      incremental: snapshot.incremental,
      incrementalSnapshotFamilyId: snapshot.snapshotFamilyId,
      completionPercent: 100,
      encryption: { type: 'EncryptionAtRestWithPlatformKey' },
      networkAccessPolicy: 'AllowAll',
      publicNetworkAccess: 'Enabled',
    },
  };
}
