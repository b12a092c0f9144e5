import { ArmError } from './errors.ts';

/** Namespaces that clients look up before they use them, with the types that this platform has. All are registered. */
const TYPES_OF: Readonly<Record<string, readonly string[]>> = {
  'Microsoft.Compute': ['virtualMachines', 'disks', 'snapshots'],
  'Microsoft.Features': ['features'],
  'Microsoft.RecoveryServices': ['vaults', 'locations/backupStatus'],
  'Microsoft.Resources': ['subscriptions', 'resourceGroups'],
  'Microsoft.Storage': ['storageAccounts'],
};

/** Versions that `az resource` may choose from; every plausible one is accepted. */
const API_VERSIONS = ['2026-04-01', '2025-02-01', '2024-11-01', '2022-09-01'];

export function listProviders(subscriptionId: string, location: string): object[] {
  return Object.keys(TYPES_OF).map((namespace) => providerView(namespace, subscriptionId, location));
}

/** @throws ArmError InvalidResourceNamespace */
export function findProvider(namespace: string, subscriptionId: string, location: string): object {
  const canonical = Object.keys(TYPES_OF).find((name) => name.toLowerCase() === namespace.toLowerCase());
  if (canonical === undefined) throw unknownNamespace(namespace);
  return providerView(canonical, subscriptionId, location);
}

export function unknownNamespace(namespace: string): ArmError {
  return new ArmError(
    404,
    'InvalidResourceNamespace',
    `The resource namespace '${namespace}' is invalid. The local platform has ${Object.keys(TYPES_OF).join(', ')}.`,
  );
}

function providerView(namespace: string, subscriptionId: string, location: string): object {
  return {
    id: `/subscriptions/${subscriptionId}/providers/${namespace}`,
    namespace,
    registrationState: 'Registered',
    registrationPolicy: 'RegistrationRequired',
    resourceTypes: (TYPES_OF[namespace] ?? []).map((resourceType) => ({
      resourceType,
      locations: [location],
      apiVersions: API_VERSIONS,
    })),
  };
}
