import {
  backupStatus,
  getContainer,
  getRefreshResult,
  listContainers,
  listProtectableItems,
  refreshContainers,
} from './discovery.ts';
import { deleteItem, getItem, getItemOperation, getItemOperationResult, listItems, putItem } from './items.ts';
import { cancel, getJob, getJobOperation, getJobOperationResult, listJobs } from './jobs.ts';
import { getVaultOperation, getVaultOperationResult } from './operations.ts';
import { cleanUpNow, getCleanUp, getCleanUpOperation, listCleanUps } from './strata-clean-up.ts';
import { getCosts } from './strata-costs.ts';
import { getOwnJob, getOwnOperation, listOwnJobs } from './strata-jobs.ts';
import { rebuildCatalog } from './strata-rebuild.ts';
import { listFindings, verifyCall } from './strata-verify.ts';
import { backup, getPoint, listPoints, restore } from './points.ts';
import { deletePolicyCall, getPolicy, listPolicies, putPolicyCall } from './policies.ts';
import { type Route, route } from './route.ts';
import { getEncryptionConfig, getStorageConfig, getVaultConfig, listResourceGuardProxies } from './vault-config.ts';
import { deleteVaultCall, getVault, listVaultsCall, listVaultsOfGroup, patchVault, putVaultCall } from './vaults.ts';

const RS = 'providers/Microsoft.RecoveryServices';
const S = '/subscriptions/{subscription}' as const;
const VAULTS = `${S}/resourceGroups/{group}/${RS}/vaults` as const;
const V = `${VAULTS}/{vault}` as const;
const FABRIC = `${V}/backupFabrics/Azure` as const;
const C = `${FABRIC}/protectionContainers/{container}` as const;
const I = `${C}/protectedItems/{item}` as const;
const POINT = `${I}/recoveryPoints/{point}` as const;
const JOB = `${V}/backupJobs/{job}` as const;

const READER = 'Backup Reader';
const OPERATOR = 'Backup Operator';
const CONTRIBUTOR = 'Backup Contributor';

/**
 * The whole API: what can be asked, who may ask at least, who answers. Readers read; operators protect, back up, restore and
 * cancel; contributors do the rest. Stopping protection shares its PUT with protecting and asks for a contributor itself.
 */
export const ROUTES: readonly Route[] = [
  route('GET', `${S}/${RS}/vaults`, READER, (call) => listVaultsCall(call)),
  route('POST', `${S}/${RS}/locations/{location}/backupStatus`, READER, backupStatus),

  route('GET', VAULTS, READER, listVaultsOfGroup),
  route('GET', V, READER, getVault),
  route('PUT', V, CONTRIBUTOR, putVaultCall),
  route('PATCH', V, CONTRIBUTOR, patchVault),
  route('DELETE', V, CONTRIBUTOR, deleteVaultCall),
  route('GET', `${V}/backupconfig/vaultconfig`, READER, getVaultConfig),
  route('GET', `${V}/backupstorageconfig/vaultstorageconfig`, READER, getStorageConfig),
  route('GET', `${V}/backupEncryptionConfigs/backupResourceEncryptionConfig`, READER, getEncryptionConfig),
  route('GET', `${V}/backupResourceGuardProxies`, READER, listResourceGuardProxies),

  route('GET', `${V}/backupPolicies`, READER, listPolicies),
  route('GET', `${V}/backupPolicies/{policy}`, READER, getPolicy),
  route('PUT', `${V}/backupPolicies/{policy}`, CONTRIBUTOR, putPolicyCall),
  route('DELETE', `${V}/backupPolicies/{policy}`, CONTRIBUTOR, deletePolicyCall),

  route('GET', `${V}/backupProtectableItems`, READER, listProtectableItems),
  route('GET', `${V}/backupProtectionContainers`, READER, listContainers),
  route('POST', `${FABRIC}/refreshContainers`, OPERATOR, refreshContainers),
  route('GET', `${FABRIC}/operationResults/{operation}`, READER, getRefreshResult),
  route('GET', C, READER, getContainer),

  route('GET', `${V}/backupProtectedItems`, READER, listItems),
  route('GET', I, READER, getItem),
  route('PUT', I, OPERATOR, putItem),
  route('DELETE', I, CONTRIBUTOR, deleteItem),
  route('POST', `${I}/backup`, OPERATOR, backup),
  route('GET', `${I}/operationsStatus/{operation}`, READER, getItemOperation),
  route('GET', `${I}/operationResults/{operation}`, READER, getItemOperationResult),
  route('GET', `${V}/backupOperations/{operation}`, READER, getVaultOperation),
  route('GET', `${V}/backupOperationResults/{operation}`, READER, getVaultOperationResult),

  route('GET', `${I}/recoveryPoints`, READER, listPoints),
  route('GET', POINT, READER, getPoint),
  route('POST', `${POINT}/restore`, OPERATOR, restore),

  route('GET', `${V}/backupJobs`, READER, listJobs),
  route('GET', JOB, READER, getJob),
  route('POST', `${JOB}/cancel`, OPERATOR, cancel),
  route('GET', `${JOB}/operationsStatus/{operation}`, READER, getJobOperation),
  route('GET', `${JOB}/operationResults/{operation}`, READER, getJobOperationResult),

  route('GET', `${V}/strata/jobs`, READER, listOwnJobs),
  route('GET', `${V}/strata/jobs/{job}`, READER, getOwnJob),
  route('GET', `${V}/strata/operationsStatus/{operation}`, READER, getOwnOperation),
  route('POST', `${V}/strata/cleanUp`, CONTRIBUTOR, cleanUpNow),
  route('GET', `${V}/strata/cleanUps`, READER, listCleanUps),
  route('GET', `${V}/strata/cleanUps/{run}`, READER, getCleanUp),
  route('GET', `${V}/strata/cleanUps/{run}/operationStatus`, READER, getCleanUpOperation),
  route('GET', `${V}/strata/costs`, READER, getCosts),
  route('POST', `${V}/strata/verify`, OPERATOR, verifyCall),
  route('GET', `${V}/strata/findings`, READER, listFindings),
  route('POST', `${V}/strata/rebuildCatalog`, CONTRIBUTOR, rebuildCatalog),
];
