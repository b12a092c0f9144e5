import { BackupError, ERROR_TABLE } from '../domain/errors.ts';
import { adviceFor } from '../services/advice.ts';
import { vaultKey } from '../services/keys.ts';
import { protectableVm } from '../services/protection.ts';
import { findVault } from '../services/vaults.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { parseVaultId, VAULT_TYPE } from './ids.ts';
import { sourceOf } from './items.ts';
import { checkName, containerName, keyOf, protectedItemName } from './names.ts';
import type { Call } from './route.ts';
import type {
  CapabilitiesBody,
  FeatureSupportBody,
  NameAvailabilityBody,
  PreValidateBody,
} from './schemas/discovery.ts';

/* What clients ask of a region before there is a vault, or before they change one. Nothing here changes anything. */

type LocationCall<Body> = Call<'subscription' | 'location', unknown, Body>;

/** Names of vaults are unique in their resource group. */
export async function checkNameAvailability(
  call: Call<'subscription' | 'group' | 'location', unknown, NameAvailabilityBody>,
): Promise<ArmAnswer> {
  const { name } = call.body;
  const { subscription, group } = call.params;
  try {
    checkName('vault', name);
  } catch (error) {
    return ok({ nameAvailable: false, reason: 'Invalid', message: (error as Error).message });
  }
  const address = { subscriptionId: subscription, resourceGroup: group, vault: name };
  if ((await findVault(call.ports, address)) === undefined)
    return ok({ nameAvailable: true, reason: null, message: null });
  return ok({
    nameAvailable: false,
    reason: 'AlreadyExists',
    message: `resource group ${group} has a vault ${name} already`,
  });
}

/** Private endpoints, and so zones of DNS, there are none. */
export async function capabilities(call: LocationCall<CapabilitiesBody>): Promise<ArmAnswer> {
  return ok({ type: call.body.type, properties: { dnsZones: [] } });
}

/** Virtual machines of any size are backed up; a vault's goals are another service's. */
export async function validateFeatures(call: LocationCall<FeatureSupportBody>): Promise<ArmAnswer> {
  return ok({ supportStatus: call.body.featureType === 'AzureVMResourceBackup' ? 'Supported' : 'NotSupported' });
}

/** Whether a VM could be protected in a vault now, by the very checks that protecting it would meet. */
export async function preValidateProtection(call: LocationCall<PreValidateBody>): Promise<ArmAnswer> {
  const { resourceId, vaultId } = call.body;
  try {
    const address = parseVaultId(vaultId, 'vaultId');
    const vault = await findVault(call.ports, address);
    if (vault === undefined) throw resourceNotFound(VAULT_TYPE, address.vault, address.resourceGroup);
    const names = sourceOf(resourceId, address);
    const standing = await call.ports.catalog.items.get(vaultKey(address), keyOf(names));
    if (standing?.row.deferredDelete !== undefined)
      throw new BackupError('ItemSoftDeleted', `${names.vmName} is deleted softly in this vault: undelete it first`);
    if (standing === undefined) await protectableVm(call.ports, vaultKey(address), vault, resourceId);
    return ok({
      status: 'Succeeded',
      errorCode: null,
      errorMessage: null,
      recommendation: null,
      containerName: containerName(names),
      protectedItemName: protectedItemName(names),
    });
  } catch (error) {
    if (!(error instanceof BackupError) || ERROR_TABLE[error.code].http >= 500) throw error;
    const { code, message } = error;
    return ok({
      status: 'Failed',
      errorCode: code,
      errorMessage: message,
      recommendation: adviceFor(code).join(' '),
      containerName: null,
      protectedItemName: null,
    });
  }
}
