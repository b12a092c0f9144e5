import type { ItemRow, VaultRow } from '../catalog/catalog.ts';
import type { VirtualMachine } from '../compute/compute.ts';
import { type DiskSelection, isSameSelection } from '../domain/disk-selection.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type JobId, attemptId, itemId } from '../domain/ids.ts';
import { type BackupPolicy, lastDue } from '../domain/policy.ts';
import { checkPolicyChange, immutabilityOf } from '../domain/vault-security.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { changeItem, claimItem } from './items.ts';
import { itemKey, pointsPartition } from './keys.ts';
import { policyOf, readPolicy } from './policies.ts';
import type { Ports } from './ports.ts';
import { always, type Precondition } from './precondition.ts';
import { dropAnchor, recordChange, setState } from './protection-state.ts';
import { refuseSoftDeleted } from './soft-delete.ts';
import { openVault } from './vault-of.ts';

/** The VM to protect, by the parts of its resource id. */
export interface VmAddress {
  readonly resourceId: string;
  readonly resourceGroup: string;
  readonly vmName: string;
}

/**
 * Protects a VM with a policy, gives a protected one another policy, or resumes one that was stopped: the same request twice is the
 * same state. Resolves the job that says so. `selection` says from the next backup on which data disks are backed up; without one that
 * stays as it is.
 * @throws BackupError ResourceNotFound (vault, policy), VMNotFoundV2, BMSUserErrorInvalidConfigureProtectionRequest, ItemSoftDeleted, VaultIsImmutable,
 * PreconditionFailed
 */
export async function protect(
  ports: Ports,
  vault: string,
  vm: VmAddress,
  policyName: string,
  selection?: DiskSelection | 'all',
  precondition: Precondition = always,
): Promise<JobId> {
  const { row: vaultRow, container } = await openVault(ports, vault);
  const policy = await readPolicy(ports, vault, policyName);
  const key = itemKey(vm.resourceGroup, vm.vmName);
  const existing = await claimItem(ports, vault, key, precondition);
  const scheduledUntil = lastDue(policy.rules, ports.clock.now());
  if (existing === undefined) {
    const found = await protectableVm(ports, vault, vaultRow, vm.resourceId);
    const item = newItem(ports, found, policy.name, scheduledUntil, selection === 'all' ? undefined : selection);
    await startChain(ports, container, item);
    try {
      await ports.catalog.items.insert(vault, key, item);
    } catch (error) {
      if (!isBackupError(error, 'RowAlreadyExists')) throw error;
      await giveWay(ports, vault, key, container, item);
    }
  } else {
    refuseSoftDeleted(existing.row);
    const isImmutable = immutabilityOf(vaultRow.properties) !== 'Disabled';
    const kept = isImmutable ? await keptUnder(ports, vault, existing.row) : undefined;
    if (kept !== undefined) checkPolicyChange(vaultRow.properties, kept, policy.rules);
    await setState(ports, container, existing.row.itemId, 'protected');
    await changeItem(ports, vault, key, (item) => {
      refuseSoftDeleted(item); // a delete was first: merges look at the row too, whatever the chain says now
      if (isImmutable && item.policyName !== existing.row.policyName && item.policyName !== policy.name) {
        throw new BackupError(
          'BMSUserErrorObjectLocked',
          `the policy of ${item.vmName} has just been changed by another request: look at it and ask again`,
        );
      }
      const diskSelection = selection === undefined ? item.diskSelection : selection === 'all' ? undefined : selection;
      const hasPolicy = item.policyName === policy.name && item.protectionState !== 'ProtectionStopped';
      if (hasPolicy && isSameSelection(item.diskSelection, diskSelection)) return undefined;
      return {
        ...item,
        diskSelection: diskSelection && { ...diskSelection, luns: [...diskSelection.luns] },
        policyName: policy.name,
        stoppedUnder: undefined,
        scheduledUntil: hasPolicy ? item.scheduledUntil : Math.max(item.scheduledUntil, scheduledUntil),
        protectionState: item.protectionState === 'ProtectionStopped' ? 'Protected' : item.protectionState,
      };
    });
  }
  return recordChange(ports, vault, key, 'ConfigureBackup', { 'Policy Name': policy.name });
}

/**
 * The VM, if a vault could protect it that does not yet.
 * @throws BackupError VMNotFoundV2, BMSUserErrorInvalidConfigureProtectionRequest for one of another region or of another vault
 */
export async function protectableVm(
  ports: Ports,
  vault: string,
  vaultRow: VaultRow,
  resourceId: string,
): Promise<VirtualMachine> {
  const found = await ports.compute.virtualMachine(resourceId);
  if (found === undefined) {
    throw new BackupError('VMNotFoundV2', `the VM ${resourceId} does not exist`, {
      target: 'properties.sourceResourceId',
    });
  }
  if (found.location.toLowerCase() !== vaultRow.location.toLowerCase()) {
    throw new BackupError(
      'BMSUserErrorInvalidConfigureProtectionRequest',
      `the VM ${found.name} is in ${found.location} and the vault in ${vaultRow.location}: they must be in the same region`,
      { target: 'properties.sourceResourceId' },
    );
  }
  await refuseElsewhere(ports, vault, found.id);
  return found;
}

/** Stops protection and keeps the data: no more backups, nothing expires. @throws BackupError ResourceNotFound, ItemSoftDeleted, PreconditionFailed */
export async function stopProtection(
  ports: Ports,
  vault: string,
  key: string,
  precondition: Precondition = always,
): Promise<JobId> {
  const { container, row: vaultRow } = await openVault(ports, vault);
  const found = await claimItem(ports, vault, key, precondition);
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no protected item ${key} in this vault`);
  refuseSoftDeleted(found.row);
  await dropAnchor(ports, vault, pointsPartition(vaultRow.containerName, found.row.itemId), found.row);
  await setState(ports, container, found.row.itemId, 'stopped');
  const kept = await keptUnder(ports, vault, found.row);
  await changeItem(ports, vault, key, (item) => {
    refuseSoftDeleted(item);
    return { ...item, policyName: '', protectionState: 'ProtectionStopped', stoppedUnder: kept && { ...kept } };
  });
  return recordChange(ports, vault, key, 'DisableBackup', {});
}

/** The policy that an item's points are kept by, or were when its protection was stopped; undefined: nobody knows. */
async function keptUnder(ports: Ports, vault: string, item: ItemRow): Promise<BackupPolicy | undefined> {
  return (await policyOf(ports, vault, item)) ?? item.stoppedUnder;
}

/** A VM has one vault: two chains of snapshots of one disk would get in each other's way. */
async function refuseElsewhere(ports: Ports, vault: string, vmId: string): Promise<void> {
  for await (const { partition, row } of ports.catalog.items.listAll()) {
    if (partition === vault || row.vmResourceId.toLowerCase() !== vmId.toLowerCase()) continue;
    const [, resourceGroup, name] = partition.split('|');
    throw new BackupError(
      'BMSUserErrorInvalidConfigureProtectionRequest',
      `the VM ${row.vmName} is protected by vault ${name} in resource group ${resourceGroup}: stop its protection there first`,
      { target: 'properties.sourceResourceId' },
    );
  }
}

function newItem(
  ports: Ports,
  vm: { id: string; name: string; resourceGroup: string },
  policyName: string,
  scheduledUntil: number,
  selection: DiskSelection | undefined,
): ItemRow {
  const readable = vm.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replace(/^-+/, '');
  return {
    itemId: itemId(`${readable === '' ? 'vm' : readable}-${ports.ids.hex(8)}`),
    vmResourceId: vm.id,
    vmName: vm.name,
    resourceGroup: vm.resourceGroup,
    policyName,
    protectionState: 'IRPending',
    protectedAt: ports.clock.now(),
    scheduledUntil,
    diskSelection: selection && { ...selection, luns: [...selection.luns] },
    disks: [],
    pins: [],
    lastBackupStatus: '',
  };
}

async function startChain(ports: Ports, container: VaultContainer, item: ItemRow): Promise<void> {
  await new Chain(container, item.itemId).start({
    kind: 'start',
    attempt: attemptId(ports.ids.hex(16)),
    job: null,
    writtenAt: new Date(ports.clock.now()).toISOString(),
    vm: { id: item.vmResourceId, name: item.vmName, resourceGroup: item.resourceGroup },
  });
}

/** Of two requests that protect a VM at once one was first: the other's item leaves nothing behind. */
async function giveWay(
  ports: Ports,
  vault: string,
  key: string,
  container: VaultContainer,
  own: ItemRow,
): Promise<void> {
  const standing = (await ports.catalog.items.get(vault, key))?.row;
  if (standing === undefined || standing.itemId === own.itemId) return; // it was its own: an answer was lost
  try {
    await new Chain(container, own.itemId).withdraw();
  } catch (error) {
    if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
    ports.log(`the first record of item ${own.itemId}, which came to nothing, stays: ${error.message}`);
  }
}
