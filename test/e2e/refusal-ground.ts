import { type ArmPlatform, containerOf, dailyPolicy, GROUP, itemOf, LOCATION } from '../support/arm-platform.ts';

export const VAULT = 'strict-vault';
export const VM = 'db1';
export const API = 'api-version=2023-06-01';
export const MISSING_POINT = '00000000000000001';

/** What the cases of refusals ask about: one vault with one VM, and what of it is known once it has been made. */
export class RefusalGround {
  readonly platform: ArmPlatform;
  vmId = '';
  point = '';
  endedJob = '';

  constructor(platform: ArmPlatform) {
    this.platform = platform;
  }

  #group(name: string): string {
    return `/subscriptions/${this.platform.endpoints.subscriptionId}/resourceGroups/${name}`;
  }

  vaultPath(vault = VAULT): string {
    return `${this.#group(GROUP)}/providers/Microsoft.RecoveryServices/vaults/${vault}`;
  }

  itemPath(vm = VM, vault = VAULT): string {
    return `${this.vaultPath(vault)}/backupFabrics/Azure/protectionContainers/${containerOf(vm)}/protectedItems/${itemOf(vm)}`;
  }

  policyId(name: string): string {
    return `${this.vaultPath()}/backupPolicies/${name}`;
  }

  accountId(name: string): string {
    return `${this.#group('strata-local')}/providers/Microsoft.Storage/storageAccounts/${name}`;
  }

  protection(sourceResourceId: string, policy = 'nightly', more: object = {}): object {
    return {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId,
        policyId: this.policyId(policy),
        ...more,
      },
    };
  }

  restoring(more: object = {}): object {
    return {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryPointId: this.point,
        recoveryType: 'RestoreDisks',
        storageAccountId: this.accountId('stratadisks2'),
        ...more,
      },
    };
  }
}

export const expiring = (time: unknown): object => ({
  properties: { objectType: 'IaasVMBackupRequest', recoveryPointExpiryTimeInUTC: time },
});

export const vaultBody = (more: object = {}): object => ({
  location: LOCATION,
  sku: { name: 'Standard' },
  properties: {},
  ...more,
});

export function weekly(): object {
  const { retentionPolicy, ...policy } = dailyPolicy(7);
  const schedulePolicy = {
    schedulePolicyType: 'SimpleSchedulePolicy',
    scheduleRunFrequency: 'Weekly',
    scheduleRunDays: ['Sunday'],
  };
  return { properties: { ...policy, schedulePolicy, retentionPolicy } };
}

/** Something that is asked for, and how it is refused. */
export type RefusalCase = readonly [
  what: string,
  ask: (on: RefusalGround) => [method: string, path: string, body?: unknown],
  status: number,
  code: string,
  says: RegExp,
];
