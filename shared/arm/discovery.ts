import type { ItemRow } from '../catalog/catalog.ts';
import type { VirtualMachine } from '../compute/compute.ts';
import { parseVirtualMachineId } from '../compute/vm-id.ts';
import { itemKey, type VaultAddress, vaultKey } from '../services/keys.ts';
import { listVaults } from '../services/vaults.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { containerId, protectableItemId, VAULT_TYPE, vaultId } from './ids.ts';
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

export async function listContainers(call: VaultCall<ContainersQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { backupManagementType = VM_MANAGEMENT, status = 'Registered', ...filter } = call.query.$filter;
  const friendlyName = filter.friendlyName?.toLowerCase();
  const isVm = backupManagementType === VM_MANAGEMENT;
  const isRegistered = status.toLowerCase() === 'registered';
  const containers: Sorted<Record<string, unknown>>[] = [];
  if (isVm && isRegistered) {
    for await (const { key, row } of call.ports.catalog.items.list(vault.key)) {
      if (friendlyName !== undefined && friendlyName !== row.vmName.toLowerCase()) continue;
      containers.push({ sortKey: key, entry: containerView(vault.address, row) });
    }
  }
  return ok(page(containers, call.query, (token) => listLink(call, vault, 'backupProtectionContainers', token)));
}

export async function getContainer(call: Call<'subscription' | 'group' | 'vault' | 'container'>): Promise<ArmAnswer> {
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
    return ok({
      protectionStatus: 'Protected',
      vaultId: vaultId(address),
      fabricName: 'Azure',
      containerName: containerName(namesOf(item)),
      protectedItemName: protectedItemName(namesOf(item)),
      policyName: item.policyName,
      registrationStatus: 'Registered',
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
