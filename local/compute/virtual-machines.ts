import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { ArmError, parseBody } from '../arm/errors.ts';
import { canonicalLocation } from '../arm/location.ts';
import { checkName, kept, resourceId } from './context.ts';
import type { ComputeContext, ResourceKind, ResourceRef } from './context.ts';
import { removeDisk } from './disks.ts';
import { activeAccess, attachedDisks, type VirtualMachineRecord } from './store.ts';
import { resolveStorageProfile, storageProfileSchema } from './storage-profile.ts';

const VIRTUAL_MACHINE_TYPE = 'Microsoft.Compute/virtualMachines';

const DEFAULT_SIZE = 'Standard_D2s_v3';
/** Answered by GET, and therefore ignored when a client sends back what it got. */
const READ_ONLY = ['vmId', 'provisioningState', 'instanceView', 'timeCreated', 'storageProfile', 'hardwareProfile'];

const tagsSchema = z.record(z.string(), z.string());
const looseObject = z.record(z.string(), z.unknown());

const putSchema = z.object({
  location: z.string().optional(),
  tags: tagsSchema.nullish(),
  zones: z.array(z.string()).nullish(),
  identity: looseObject.nullish(),
  properties: z.looseObject({
    hardwareProfile: z.looseObject({ vmSize: z.string().nullish() }).nullish(),
    storageProfile: storageProfileSchema,
    osProfile: z
      .undefined("is not allowed: a VM whose OS disk is attached has the operating system's own settings")
      .or(z.null())
      .optional(),
  }),
});

const patchSchema = z.object({
  tags: tagsSchema.nullish(),
  identity: looseObject.nullish(),
  properties: looseObject.nullish(),
});

type VirtualMachinePut = z.infer<typeof putSchema>;
type PowerState = VirtualMachineRecord['powerState'];

const keptMachines = (context: ComputeContext) => kept(context, VIRTUAL_MACHINE_TYPE, (all) => all.virtualMachines);

/** Virtual machines: their disks and power state; nothing runs in them. */
export function createVirtualMachines(context: ComputeContext): ResourceKind {
  const { state, exclusive } = context;
  const { find, require, save } = keptMachines(context);

  async function put(ref: ResourceRef, request: VirtualMachinePut): Promise<VirtualMachineRecord> {
    const existing = find(ref);
    const location = canonicalLocation(request.location);
    if (existing !== undefined && existing.location !== location) {
      throw new ArmError(
        409,
        'PropertyChangeNotAllowed',
        `Changing property 'location' of VM '${existing.name}' from '${existing.location}' to '${location}' is not allowed.`,
      );
    }
    checkName('virtual machine', ref.name, 64);
    const name = existing?.name ?? ref.name;
    const id = existing?.id ?? resourceId(context, VIRTUAL_MACHINE_TYPE, ref);
    const disks = await resolveStorageProfile(context, { id, name, location }, request.properties.storageProfile);
    const resourceGroup = context.groups.ensure(ref.resourceGroup).name;
    return save({
      id: existing?.id ?? resourceId(context, VIRTUAL_MACHINE_TYPE, ref),
      name,
      resourceGroup,
      location,
      timeCreated: existing?.timeCreated ?? new Date(context.now()).toISOString(),
      vmId: existing?.vmId ?? randomUUID(),
      powerState: existing?.powerState ?? 'running',
      ...disks,
      properties: {
        ...Object.fromEntries(Object.entries(request.properties).filter(([key]) => !READ_ONLY.includes(key))),
        hardwareProfile: { ...request.properties.hardwareProfile, vmSize: sizeOf(request, existing) },
      },
      ...optional('tags', request.tags ?? existing?.tags),
      ...optional('zones', request.zones ?? existing?.zones),
      ...optional('identity', request.identity ?? existing?.identity),
    });
  }

  const setPower = (to: (from: PowerState) => PowerState) => (ref: ResourceRef) =>
    exclusive(async () => {
      const vm = require(ref);
      save({ ...vm, powerState: to(vm.powerState) });
      return undefined;
    });

  return {
    list: (group) =>
      Object.values(state.value.virtualMachines)
        .filter((vm) => group === undefined || vm.resourceGroup.toLowerCase() === group.toLowerCase())
        .map((vm) => virtualMachineView(vm)),

    get(ref, query) {
      const expand = query.get('$expand')?.toLowerCase();
      const vm = require(ref);
      return virtualMachineView(vm, expand === 'instanceview' ? instanceView(vm) : undefined);
    },

    put: (ref, body) => {
      const request = parseBody(putSchema, body);
      return exclusive(async () => ({
        created: find(ref) === undefined,
        resource: virtualMachineView(await put(ref, request)),
      }));
    },

    patch: (ref, body) => {
      const patch = parseBody(patchSchema, body);
      return exclusive(async () => {
        const vm = require(ref);
        if (!patch.properties) {
          return virtualMachineView(
            save({ ...vm, ...optional('tags', patch.tags), ...optional('identity', patch.identity) }),
          );
        }
        const properties = { ...vm.properties, storageProfile: storageProfileOf(vm), ...patch.properties };
        const whole = { location: vm.location, tags: patch.tags, identity: patch.identity, properties };
        return virtualMachineView(await put(ref, parseBody(putSchema, whole)));
      });
    },

    remove: (ref) =>
      exclusive(async () => {
        const vm = find(ref);
        if (vm === undefined) return false;
        state.update((draft) => {
          delete draft.virtualMachines[vm.id.toLowerCase()];
        });
        await removeDisksWith(context, vm);
        return true;
      }),

    actions: {
      start: setPower(() => 'running'),
      restart: setPower((from) => (from === 'running' ? 'running' : from)),
      poweroff: setPower((from) => (from === 'deallocated' ? 'deallocated' : 'stopped')),
      deallocate: setPower(() => 'deallocated'),
    },
  };
}

/** The run-time state of a VM, as POST-less `…/instanceView` answers it. */
export function instanceViewOf(context: ComputeContext, ref: ResourceRef): object {
  return instanceView(keptMachines(context).require(ref));
}

function instanceView(vm: VirtualMachineRecord): object {
  const provisioned = {
    code: 'ProvisioningState/succeeded',
    level: 'Info',
    displayStatus: 'Provisioning succeeded',
    time: vm.timeCreated,
  };
  return {
    osName: vm.osDisk.osType,
    disks: attachedDisks(vm).map((disk) => ({ name: disk.name, statuses: [provisioned] })),
    statuses: [
      provisioned,
      { code: `PowerState/${vm.powerState}`, level: 'Info', displayStatus: `VM ${vm.powerState}` },
    ],
  };
}

function virtualMachineView(vm: VirtualMachineRecord, view?: object): object {
  return {
    id: vm.id,
    name: vm.name,
    type: VIRTUAL_MACHINE_TYPE,
    location: vm.location,
    tags: vm.tags,
    zones: vm.zones,
    identity: vm.identity,
    properties: {
      ...vm.properties,
      vmId: vm.vmId,
      provisioningState: 'Succeeded',
      timeCreated: vm.timeCreated,
      storageProfile: storageProfileOf(vm),
      instanceView: view,
    },
  };
}

function storageProfileOf(vm: VirtualMachineRecord): object {
  return { osDisk: vm.osDisk, dataDisks: vm.dataDisks };
}

/** Managed disks attached with deleteOption Delete go with their VM; all others stay, and are free again. */
async function removeDisksWith(context: ComputeContext, vm: VirtualMachineRecord): Promise<void> {
  for (const attached of attachedDisks(vm)) {
    const disk = context.state.value.disks[attached.managedDisk?.id.toLowerCase() ?? ''];
    if (disk === undefined || attached['deleteOption'] !== 'Delete' || activeAccess(disk) !== undefined) continue;
    await removeDisk(context, disk);
  }
}

function sizeOf(request: VirtualMachinePut, existing: VirtualMachineRecord | undefined): string {
  const before = (existing?.properties['hardwareProfile'] as { vmSize?: string } | undefined)?.vmSize;
  return request.properties.hardwareProfile?.vmSize ?? before ?? DEFAULT_SIZE;
}

/** A field that is left out when there is nothing to say. */
function optional<K extends string, V>(key: K, value: V | null | undefined): { [P in K]?: V } {
  return (value === undefined || value === null ? {} : { [key]: value }) as { [P in K]?: V };
}
