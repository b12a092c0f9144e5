import type { ItemRow } from '../catalog/catalog.ts';
import type { VirtualMachine } from '../compute/compute.ts';
import { parseVirtualMachineId } from '../compute/vm-id.ts';
import { BackupError } from '../domain/errors.ts';
import { itemKey, type VaultAddress, vaultKey } from '../services/keys.ts';
import { listVaults } from '../services/vaults.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { containerId, containerPath, protectableItemId, VAULT_TYPE, vaultId } from './ids.ts';
import { namesOf } from './items.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import {
  containerName,
  keyOf,
  parseContainerName,
  protectableItemName,
  protectedItemName,
  regionName,
} from './names.ts';
import { accepted, theOperation } from './operations.ts';
import { page, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import type { BackupStatusBody, ContainersQuery, ProtectableItemsQuery } from './schemas/vault.ts';
import { theVault, type VaultCall, listLink } from './vaults.ts';

const VM_TYPE = 'Microsoft.Compute/virtualMachines';

/** The container of an item: there is one for each VM, and it is there as long as the item. */
function containerView(vault: VaultAddress, row: ItemRow): Record<string, unknown> {
  const names = namesOf(row);
  return {
    id: containerId(vault, names),
    name: containerName(names),
    type: `${VAULT_TYPE}/backupFabrics/protectionContainers`,
    properties: {
      containerType: VM_TYPE,
      protectableObjectType: VM_TYPE,
      backupManagementType: VM_MANAGEMENT,
      friendlyName: row.vmName,
      resourceGroup: row.resourceGroup,
      virtualMachineId: row.vmResourceId,
      virtualMachineVersion: 'Compute',
      registrationStatus: row.deferredDelete === undefined ? 'Registered' : 'SoftDeleted',
      healthStatus: 'Healthy',
    },
  };
}

export const listContainers = (call: VaultCall<ContainersQuery>): Promise<ArmAnswer> =>
  containersPage(call, 'backupProtectionContainers');

/** Those of softly deleted items alone. */
export const listDeletedContainers = (call: VaultCall<ContainersQuery>): Promise<ArmAnswer> =>
  containersPage(call, 'backupDeletedProtectionContainers', 'SoftDeleted');

async function containersPage(call: VaultCall<ContainersQuery>, path: string, only?: string): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { backupManagementType = VM_MANAGEMENT, ...filter } = call.query.$filter;
  const [friendlyName, asked, ...rest] = [filter.friendlyName, filter.status, only].map((text) => text?.toLowerCase());
  const statuses = [asked, ...rest].filter((status) => status !== undefined);
  const isVm = backupManagementType === VM_MANAGEMENT;
  const containers: Sorted<Record<string, unknown>>[] = [];
  if (isVm) {
    for await (const { key, row } of call.ports.catalog.items.list(vault.key)) {
      if (friendlyName !== undefined && friendlyName !== row.vmName.toLowerCase()) continue;
      const own = row.deferredDelete === undefined ? 'registered' : 'softdeleted';
      if (statuses.some((status) => status !== own)) continue;
      containers.push({ sortKey: key, entry: containerView(vault.address, row) });
    }
  }
  return ok(page(containers, call.query, (token) => listLink(call, vault, path, token)));
}

type ContainerCall<Body = unknown> = Call<'subscription' | 'group' | 'vault' | 'container', unknown, Body>;

/** Containers come and go with their items: one of a protected VM is registered, for others the VM has to be protected. */
export async function registerContainer(call: ContainerCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const found = await call.ports.catalog.items.get(vault.key, keyOf(parseContainerName(call.params.container)));
  if (found !== undefined) return ok(containerView(vault.address, found.row));
  throw new BackupError(
    'OperationNotSupported',
    'the container of a VM is registered by protecting it: PUT .../protectedItems/{item} below it',
    { target: 'container' },
  );
}

/** What is not there is as good as unregistered. @throws BackupError ContainerHasProtectedItem */
export async function unregisterContainer(call: ContainerCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const found = await call.ports.catalog.items.get(vault.key, keyOf(parseContainerName(call.params.container)));
  if (found === undefined) return noContent;
  const { vmName, deferredDelete } = found.row;
  throw new BackupError(
    'ContainerHasProtectedItem',
    `the container has the protected item ${vmName}${deferredDelete === undefined ? '' : ', which is deleted softly'}: it goes with it`,
    { target: 'container' },
  );
}

/** A VM has no databases or shares to be found. */
export async function inquire(call: ContainerCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const names = parseContainerName(call.params.container);
  await getContainer(call);
  return accepted(call, vault, containerPath(names));
}

/** Of what this version does not have there is none. */
export async function nothingInVault(call: VaultCall): Promise<ArmAnswer> {
  await theVault(call);
  return ok({ value: [], nextLink: null });
}

export async function nothingInContainer(call: ContainerCall): Promise<ArmAnswer> {
  await getContainer(call);
  return ok({ value: [], nextLink: null });
}

export async function getContainer(call: ContainerCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const found = await call.ports.catalog.items.get(vault.key, keyOf(parseContainerName(call.params.container)));
  if (found === undefined) {
    throw resourceNotFound(
      `${VAULT_TYPE}/protectionContainers`,
      `${vault.row.name}/${call.params.container}`,
      vault.row.resourceGroup,
    );
  }
  return ok(containerView(vault.address, found.row));
}

function protectableView(vault: VaultAddress, vm: VirtualMachine): Record<string, unknown> {
  const names = { resourceGroup: vm.resourceGroup, vmName: vm.name };
  return {
    id: protectableItemId(vault, names),
    name: protectableItemName(names).replace(/^vm;/, ''),
    type: `${VAULT_TYPE}/backupFabrics/protectionContainers/protectableItems`,
    properties: {
      protectableItemType: VM_TYPE,
      backupManagementType: VM_MANAGEMENT,
      workloadType: 'VM',
      friendlyName: vm.name,
      protectionState: 'NotProtected',
      resourceGroup: vm.resourceGroup,
      virtualMachineId: vm.id,
      virtualMachineVersion: 'Compute',
    },
  };
}

/** VMs of the vault's subscription and region that no vault of the subscription protects. */
export async function listProtectableItems(call: VaultCall<ProtectableItemsQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { backupManagementType = VM_MANAGEMENT, ...filter } = call.query.$filter;
  const friendlyName = filter.friendlyName?.toLowerCase();
  const isVm = backupManagementType === VM_MANAGEMENT;
  const found: Sorted<Record<string, unknown>>[] = [];
  if (isVm) {
    const known = await protectedKeys(call);
    for await (const vm of call.ports.compute.virtualMachines(vault.address.subscriptionId)) {
      const key = itemKey(vm.resourceGroup, vm.name);
      if (known.has(key) || regionName(vm.location) !== vault.row.location) continue;
      if (friendlyName !== undefined && friendlyName !== vm.name.toLowerCase()) continue;
      found.push({ sortKey: key, entry: protectableView(vault.address, vm) });
    }
  }
  return ok(page(found, call.query, (token) => listLink(call, vault, 'backupProtectableItems', token)));
}

async function protectedKeys(call: VaultCall): Promise<ReadonlySet<string>> {
  const keys = new Set<string>();
  for await (const row of listVaults(call.ports, call.params.subscription)) {
    for await (const { key } of call.ports.catalog.items.list(vaultKey({ ...row, vault: row.name }))) keys.add(key);
  }
  return keys;
}

/** VMs are looked up whenever they are listed, so there is nothing to refresh: the operation has ended when it is answered. */
export async function refreshContainers(call: VaultCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  return accepted(call, vault, 'backupFabrics/Azure');
}

export async function getRefreshResult(
  call: Call<'subscription' | 'group' | 'vault' | 'operation'>,
): Promise<ArmAnswer> {
  await theOperation(call, await theVault(call), 'backupFabrics/Azure');
  return noContent;
}

/** Which vault of the subscription protects a VM. */
export async function backupStatus(
  call: Call<'subscription' | 'location', unknown, BackupStatusBody>,
): Promise<ArmAnswer> {
  const { resourceId } = call.body;
  const vm = parseVirtualMachineId(resourceId);
  const key = itemKey(vm.resourceGroup, vm.name);
  for await (const row of listVaults(call.ports, call.params.subscription)) {
    const address: VaultAddress = { ...row, vault: row.name };
    const item = (await call.ports.catalog.items.get(vaultKey(address), key))?.row;
    if (item === undefined || vm.subscriptionId.toLowerCase() !== row.subscriptionId.toLowerCase()) continue;
    const isDeleted = item.deferredDelete !== undefined;
    return ok({
      protectionStatus: isDeleted ? 'NotProtected' : 'Protected',
      vaultId: vaultId(address),
      fabricName: 'Azure',
      containerName: containerName(namesOf(item)),
      protectedItemName: protectedItemName(namesOf(item)),
      policyName: item.policyName,
      protectedItemsCount: isDeleted ? 0 : 1,
      registrationStatus: isDeleted ? 'SoftDeleted' : 'Registered',
      errorCode: 'Success',
      errorMessage: '',
    });
  }
  return ok({
    protectionStatus: 'NotProtected',
    registrationStatus: 'NotRegistered',
    errorCode: 'Success',
    errorMessage: '',
  });
}
