import { parseVirtualMachineId } from '../compute/vm-id.ts';
import { BackupError } from '../domain/errors.ts';
import { startBackup } from '../services/backup.ts';
import { itemKey, vaultKey } from '../services/keys.ts';
import { findVault } from '../services/vaults.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, type ArmRequest, publicBase } from './http.ts';
import { jobResourceId, parseVaultId, VAULT_TYPE } from './ids.ts';
import { checkName } from './names.ts';
import { readJson } from './request-body.ts';
import { parseAs } from './schemas/common.ts';
import { backupNowBody } from './schemas/strata.ts';
import { type ArmApp, checkSubscription, linker, withRequestIds } from './serve.ts';

/** The api-version of the links that this call hands out: that of the current client libraries. */
const API_VERSION = '2023-06-01';

/**
 * The plain trigger of an on-demand backup for scripts that hold a function key: `{vaultId, vmId, expiry?}` in, 202 with
 * `{jobId, statusUrl}` out. Whoever sends it has shown the key already.
 */
export function backupNow({ config, ports }: ArmApp, request: ArmRequest): Promise<ArmAnswer> {
  return withRequestIds(ports, request, async () => {
    const { vaultId, vmId, expiry } = parseAs(backupNowBody, await readJson(request));
    const address = parseVaultId(vaultId, 'vaultId');
    checkSubscription(address.subscriptionId, config.subscriptionId);
    checkName('group', address.resourceGroup);
    checkName('vault', address.vault);
    const vm = parseVirtualMachineId(vmId);
    checkSubscription(vm.subscriptionId, config.subscriptionId);
    checkName('group', vm.resourceGroup);
    checkName('virtual machine', vm.name);
    const row = await findVault(ports, address);
    if (row === undefined) throw resourceNotFound(VAULT_TYPE, address.vault, address.resourceGroup);
    const vault = vaultKey(address);
    const key = itemKey(vm.resourceGroup, vm.name);
    if ((await ports.catalog.items.get(vault, key)) === undefined) {
      throw new BackupError(
        'ResourceNotFound',
        `vault ${row.name} does not protect the VM ${vmId}: enable its protection first`,
        {
          target: 'vmId',
        },
      );
    }
    const jobId = await startBackup(ports, vault, key, { kind: 'onDemand', retainUntil: expiry });
    const own = { subscriptionId: row.subscriptionId, resourceGroup: row.resourceGroup, vault: row.name };
    const statusUrl = linker(publicBase(request, config.publicUrl), API_VERSION)(jobResourceId(own, jobId));
    return { status: 202, headers: { Location: statusUrl }, body: { jobId, statusUrl } };
  });
}
