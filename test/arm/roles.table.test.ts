import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ROLES, type Role } from '../../shared/arm/callers.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';

/*
 * Who may do what, operation by operation, written down: a route that is not here, or asks for another role, fails. R: a Backup Reader at
 * least, O: a Backup Operator, C: a Backup Contributor. Stopping shares its PUT with protecting and asks for a contributor itself.
 */
const TABLE = `
  R GET S/RS/vaults
  R GET S/resourceGroups/{group}/RS/vaults
  R GET V
  C PUT V
  C PATCH V
  C DELETE V
  R GET V/backupconfig/vaultconfig
  R GET V/backupstorageconfig/vaultstorageconfig
  R GET V/backupEncryptionConfigs/backupResourceEncryptionConfig
  C PUT V/backupEncryptionConfigs/backupResourceEncryptionConfig
  R GET V/backupResourceGuardProxies
  R POST S/RS/locations/{location}/backupStatus
  R GET V/backupProtectableItems
  R GET V/backupProtectionContainers
  O POST V/backupFabrics/Azure/refreshContainers
  R GET V/backupFabrics/Azure/operationResults/{operation}
  R GET C
  R GET V/backupPolicies
  R GET V/backupPolicies/{policy}
  C PUT V/backupPolicies/{policy}
  C DELETE V/backupPolicies/{policy}
  R GET V/backupProtectedItems
  R GET I
  O PUT I
  C DELETE I
  O POST I/backup
  R GET I/operationsStatus/{operation}
  R GET I/operationResults/{operation}
  R GET V/backupOperations/{operation}
  R GET V/backupOperationResults/{operation}
  R GET I/recoveryPoints
  R GET I/recoveryPoints/{point}
  O POST I/recoveryPoints/{point}/restore
  R GET V/backupJobs
  R GET V/backupJobs/{job}
  O POST V/backupJobs/{job}/cancel
  R GET V/backupJobs/{job}/operationsStatus/{operation}
  R GET V/backupJobs/{job}/operationResults/{operation}
  R GET V/strata/jobs
  R GET V/strata/jobs/{job}
  R GET V/strata/operationsStatus/{operation}
  C POST V/strata/cleanUp
  R GET V/strata/cleanUps
  R GET V/strata/cleanUps/{run}
  R GET V/strata/cleanUps/{run}/operationStatus
  R GET V/strata/costs
  O POST V/strata/verify
  R GET V/strata/findings
  C POST V/strata/rebuildCatalog
  R GET S/RS/locations/{location}/deletedVaults/{deletedVault}
  R GET S/RS/locations/{location}/deletedVaults/{deletedVault}/operations/{operation}
  C POST S/RS/locations/{location}/deletedVaults/{deletedVault}/undelete
  C PUT V/certificates/{certificate}
  C DELETE V/registeredIdentities/{identity}
  R GET V/extendedInformation/vaultExtendedInfo
  C PUT V/extendedInformation/vaultExtendedInfo
  C PATCH V/extendedInformation/vaultExtendedInfo
  R GET V/backupEngines/{engine}
  R GET V/privateEndpointConnections/{endpoint}
  C PUT V/privateEndpointConnections/{endpoint}
  C DELETE V/privateEndpointConnections/{endpoint}
  R GET V/privateEndpointConnections/{endpoint}/operationsStatus/{operation}
  R GET V/privateLinkResources/{link}
  R GET V/backupstorageconfig/vaultstorageconfig/operationResults/{operation}
  R GET V/backupstorageconfig/vaultstorageconfig/operationStatus/{operation}
  C POST V/backupstorageconfig/vaultstorageconfig/prepareDataMove
  C POST V/backupstorageconfig/vaultstorageconfig/triggerDataMove
  R GET V/backupFabrics/Azure/backupProtectionIntent/{intent}
  O PUT V/backupFabrics/Azure/backupProtectionIntent/{intent}
  O POST I/recoveryPoints/{point}/accessToken
  O POST I/recoveryPoints/{point}/move
  O POST I/recoveryPoints/{point}/provisionInstantItemRecovery
  O POST I/recoveryPoints/{point}/revokeInstantItemRecovery
  R GET S/RS/locations/{location}/backupAadProperties
  O POST S/RS/locations/{location}/backupCrossRegionRestore
  O POST S/RS/locations/{location}/backupCrrJob
  R POST S/RS/locations/{location}/backupCrrJobs
  R GET S/RS/locations/{location}/backupCrrOperationResults/{operation}
  R GET S/RS/locations/{location}/backupCrrOperationsStatus/{operation}
  C POST V/backupTieringCost/default/fetchTieringCost
  R GET V/backupTieringCost/default/operationResults/{operation}
  R GET V/backupTieringCost/default/operationsStatus/{operation}
  C PUT V/backupconfig/vaultconfig
  C PATCH V/backupconfig/vaultconfig
  O PUT V/backupstorageconfig/vaultstorageconfig
  O PATCH V/backupstorageconfig/vaultstorageconfig
  O PUT C
  C DELETE C
  O POST C/inquire
  R GET C/items
  R GET V/backupDeletedProtectionContainers
  R GET V/backupFabrics/Azure/protectableContainers
  R GET V/backupProtectionIntents
  R GET V/backupEngines
  R GET V/privateLinkResources
  R GET V/replicationUsages
  O DELETE V/backupFabrics/Azure/backupProtectionIntent/{intent}
  R GET S/RS/locations/{location}/deletedVaults
  R GET V/usages
  R GET V/backupUsageSummaries
  R POST S/resourceGroups/{group}/RS/locations/{location}/checkNameAvailability
  R POST S/RS/locations/{location}/capabilities
  R POST S/RS/locations/{location}/backupValidateFeatures
  O POST S/RS/locations/{location}/backupPreValidateProtection
  O POST V/backupValidateOperation
  O POST V/backupTriggerValidateOperation
  R GET V/backupValidateOperationsStatuses/{operation}
  R GET V/backupValidateOperationResults/{operation}
  R GET V/operationStatus/{operation}
  R GET V/operationResults/{operation}
  R GET V/backupPolicies/{policy}/operations/{operation}
  R GET V/backupPolicies/{policy}/operationResults/{operation}
  R GET C/operationResults/{operation}
  R GET S/providers/Microsoft.Features/features
  R GET S/providers/Microsoft.Features/providers/{namespace}/features
  R GET S/providers/Microsoft.Features/providers/{namespace}/features/{feature}
  C POST S/providers/Microsoft.Features/providers/{namespace}/features/{feature}/register
  C POST S/providers/Microsoft.Features/providers/{namespace}/features/{feature}/unregister
  R GET S/providers/Microsoft.Features/subscriptionFeatureRegistrations
  R GET S/providers/Microsoft.Features/featureProviders/{namespace}/subscriptionFeatureRegistrations
  R GET S/providers/Microsoft.Features/featureProviders/{namespace}/subscriptionFeatureRegistrations/{feature}
  C PUT S/providers/Microsoft.Features/featureProviders/{namespace}/subscriptionFeatureRegistrations/{feature}
  C DELETE S/providers/Microsoft.Features/featureProviders/{namespace}/subscriptionFeatureRegistrations/{feature}
  R GET /RS/operations
  R GET /providers/Microsoft.Features/operations
`;

/** What the short paths of the table stand for, longest last. */
const SHORT: readonly (readonly [string, string])[] = [
  ['/subscriptions/{subscription}', 'S'],
  ['S/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}', 'V'],
  ['V/backupFabrics/Azure/protectionContainers/{container}', 'C'],
  ['C/protectedItems/{item}', 'I'],
  ['providers/Microsoft.RecoveryServices', 'RS'],
];
const shortened = (template: string): string =>
  SHORT.reduce((text, [long, short]) => text.replace(long, short), template);

const NEEDS: Readonly<Record<string, Role>> = { R: ROLES[0], O: ROLES[1], C: ROLES[2] };
const wanted = TABLE.trim()
  .split('\n')
  .map((line) => line.trim().split(' ') as [needs: string, method: string, path: string]);

it('every route stands in the table, once, with the role that it asks for', () => {
  const real = ROUTES.map(({ role, method, template }) => `${role[7]} ${method} ${shortened(template)}`);
  expect(real.sort()).toEqual(wanted.map((row) => row.join(' ')).sort());
});

describe.each(wanted)('%s %s %s', (needs, method, path) => {
  const route = ROUTES.find((each) => each.method === method && shortened(each.template) === path);
  const names = z.object(
    Object.fromEntries([...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, z.string()])),
  );
  const url = `http://strata${route?.template.replaceAll('{subscription}', 'sub').replaceAll(/\{\w+\}/g, 'abc')}`;
  const stub = route && {
    ...route,
    params: names,
    query: z.object({}),
    body: undefined,
    handler: async () => ({ status: 299 }),
  };

  /** The status and the code that a caller meets, whose token has these roles; null: without a token. */
  async function met(roles: readonly Role[] | null): Promise<[number, string | undefined]> {
    const ports = { clock: { now: () => Date.parse('2026-11-22') }, ids: { guid: () => 'id' }, log: () => {} };
    const tokens = { issuer: '', audiences: [], jwksUrl: '' };
    const serve = armApi(
      { config: { subscriptionId: 'sub', tokens, publicUrl: undefined }, ports: ports as unknown as Ports },
      async (authorization) => {
        if (authorization === null || roles === null) throw new BackupError('AuthenticationFailed', 'no token');
        return { name: 'somebody', roles };
      },
      stub === undefined ? [] : [stub],
    );
    const headers = new Headers(roles === null ? {} : { authorization: 'Bearer x' });
    const answer = await serve({ method, url: `${url}?api-version=2023-06-01`, headers, body: null });
    return [answer.status, (answer.body as { error: { code: string } } | undefined)?.error.code];
  }

  it('lets in whom it should, and nobody else', async () => {
    expect(await met(null)).toEqual([401, 'AuthenticationFailed']);
    expect(await met([])).toEqual([403, 'AuthorizationFailed']);
    for (const [has, role] of ROLES.entries()) {
      if (has < ROLES.indexOf(NEEDS[needs]!)) expect(await met([role])).toEqual([403, 'AuthorizationFailed']);
      else expect(await met([role])).toEqual([route?.refusal?.status ?? 299, route?.refusal?.code]);
    }
  });
});
