import { join } from 'node:path';
import { z } from 'zod';
import { connectionString } from '../storage/accounts.ts';
import type { StorageAccount } from '../storage/server.ts';
import type { Endpoints } from './endpoints.ts';
import { PlatformError } from './errors.ts';
import { readFileIfAny } from './files.ts';

export const DEFAULT_LOCATION = 'westeurope';
/** What host processes get unless somebody says otherwise. */
const DEFAULTS = {
  STRATA_DELETE_GRACE_SECONDS: '5',
  STRATA_LOCATION: DEFAULT_LOCATION,
  STRATA_SNAPSHOT_GROUP: 'strata-snapshots',
  // Its disks give what the machine gives.
  STRATA_SOURCE_PACING: 'off',
  // A person reads it.
  STRATA_LOG_FORMAT: 'text',
  // Idle polling costs nothing here, and a person is waiting.
  AzureFunctionsJobHost__extensions__queues__maxPollingInterval: '00:00:00.250',
};
/** Settings that all hosts of a platform must share, wherever they were set. */
const SHARED = /^(STRATA_|AzureFunctionsJobHost__)/;

/**
 * The environment of the Functions host, beside what the process has anyway. Later ones win: local.settings.json as in Core
 * Tools, defaults, what the user set, the platform's own addresses, `extra`.
 */
export function hostEnvironment(options: {
  appDir: string;
  processEnv: NodeJS.ProcessEnv;
  endpoints: Endpoints;
  accounts: readonly StorageAccount[];
  storagePorts: { blobPort: number; queuePort: number; tablePort: number };
  clockFile: string;
  servicesEnv: Readonly<Record<string, string>>;
  extra: Record<string, string>;
}): Record<string, string> {
  const { appDir, processEnv, endpoints, accounts, storagePorts, clockFile, servicesEnv, extra } = options;
  const own = accounts.find(({ account }) => account === 'devstoreaccount1');
  if (own === undefined) throw new PlatformError('there is no storage account devstoreaccount1 for the app');
  const ownStorage = connectionString(own, storagePorts);
  const local = localSettings(appDir);
  const fromUser = Object.entries(processEnv).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && (SHARED.test(entry[0]) || entry[0] in local),
  );
  return {
    ...local,
    ...DEFAULTS,
    ...Object.fromEntries(fromUser),
    FUNCTIONS_WORKER_RUNTIME: 'node',
    AzureWebJobsStorage: ownStorage,
    STRATA_VAULT_STORAGE: ownStorage,
    STRATA_STORAGE_ACCOUNTS: JSON.stringify(
      endpoints.storage.map(({ account, kind, blob, key }) => ({ account, kind, blob, key })),
    ),
    STRATA_SUBSCRIPTION_ID: endpoints.subscriptionId,
    STRATA_TENANT_ID: endpoints.tenantId,
    STRATA_ARM_ENDPOINT: endpoints.https,
    STRATA_PUBLIC_URL: endpoints.https,
    STRATA_CLOCK_FILE: clockFile,
    NODE_EXTRA_CA_CERTS: endpoints.caFile,
    ...servicesEnv,
    ...extra,
  };
}

const settingsFile = z.object({ Values: z.record(z.string(), z.string()).default({}) });

function localSettings(appDir: string): Record<string, string> {
  const path = join(appDir, 'local.settings.json');
  const text = readFileIfAny(path);
  if (text === undefined) return {};
  try {
    return settingsFile.parse(JSON.parse(text)).Values;
  } catch (error) {
    throw new PlatformError(`${path} must be {"Values": {"NAME": "text"}}`, { cause: error });
  }
}
