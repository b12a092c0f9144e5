import { randomBytes, randomUUID } from 'node:crypto';
import type { TokenCredential } from '@azure/identity';
import { BlobServiceClient, type StorageSharedKeyCredential } from '@azure/storage-blob';
import { webhook } from '../alert/webhook.ts';
import { azureTable } from '../catalog/azure-tables.ts';
import { subscriptionOfCall } from '../azure/compute-calls.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { catalogOf } from '../catalog/tables.ts';
import { azureCompute } from '../compute/azure-compute.ts';
import { snapshotsByKind, targetsByKind } from '../disk/disks-by-kind.ts';
import { isManagedDisk } from '../disk/managed-ids.ts';
import { managedSnapshots } from '../disk/managed-snapshots.ts';
import { managedTargets } from '../disk/managed-targets.ts';
import { pacedSnapshots } from '../disk/paced-snapshots.ts';
import { accountEndpoint } from '../disk/page-blob-clients.ts';
import { pageBlobSnapshots } from '../disk/page-blob-snapshots.ts';
import { pageBlobTargets } from '../disk/page-blob-targets.ts';
import { SourcePace } from '../disk/source-pace.ts';
import { BackupError } from '../domain/errors.ts';
import { frameStream } from '../format/frame-stream.ts';
import { storageQueue } from '../queue/storage-queue.ts';
import type { Log, Ports } from '../services/ports.ts';
import { azureVaultContainers } from '../vault/azure-blobs.ts';
import type { VaultContainers } from '../vault/vault-container.ts';
import { fileClock, systemClock } from './clock.ts';
import type { Config, StorageSetting } from './config.ts';
import { type StorageAccounts, azureCredential, storageAccounts } from './credentials.ts';

/** Builds everything that the services need from the settings: the one place where real adapters are made. */
export function compose(config: Config, log: Log): Ports {
  const credential = azureCredential();
  const accounts = storageAccounts(config.accounts, credential);
  const calls = callPace();
  const arm = { endpoint: config.armEndpoint, credential, calls };
  const credentialFor = (url: string) => accounts.credentialFor(url);
  const pace = sourcePace(config, accounts);
  return {
    vaults: vaultContainers(config.vaultStorage, credential),
    snapshots: pacedSnapshots(
      snapshotsByKind(
        pageBlobSnapshots({ credentialFor, tries: pace }),
        managedSnapshots({ ...arm, resourceGroup: config.snapshotGroup, tries: pace }),
      ),
      pace,
    ),
    targets: targetsByKind(pageBlobTargets({ credentialFor }), managedTargets({ ...arm, tries: pace })),
    catalog: catalog(config.appStorage, credential),
    queue: storageQueue({ connection: connectionTo(config.appStorage, 'queue', credential) }),
    compute: azureCompute(arm),
    accounts,
    clock: config.clockFile === undefined ? systemClock : fileClock(config.clockFile),
    ids: {
      guid: () => randomUUID(),
      hex: (digits) =>
        randomBytes(Math.ceil(digits / 2))
          .toString('hex')
          .slice(0, digits),
    },
    frameEncoder: frameStream,
    settings: config,
    log,
    alerts: config.alertWebhook === undefined ? undefined : webhook(config.alertWebhook),
  };
}

/** What reads of source disks wait for. Without pacing they wait for nothing until a storage refuses. */
function sourcePace({ sourcePacing, sourceRates }: Config, accounts: StorageAccounts): SourcePace {
  const { isOn, accountRequestsPerSecond, accountBytesPerSecond } = sourcePacing;
  const accountRates = { requestsPerSecond: accountRequestsPerSecond, bytesPerSecond: accountBytesPerSecond };
  return new SourcePace({
    ratesOf: (url) => (isOn ? sourceRates[accounts.kindOf(url)] : undefined),
    accountRates: isOn ? accountRates : undefined,
    accountOf: (place) => (isManagedDisk(place) ? undefined : accountEndpoint(place)),
    now: () => performance.now(),
    after: (ms, then) => void setTimeout(then, ms),
  });
}

/** Longer than this nothing waits for Compute to answer again: the call has failed by then, and its message comes back. */
const MOST_CALL_PAUSE_MS = 600_000;

/** What calls to Compute wait for: nothing, until it refuses a kind of call, or of several kinds all those of the subscription. */
function callPace(): SourcePace {
  return new SourcePace({
    ratesOf: () => undefined,
    accountRates: undefined,
    accountOf: subscriptionOfCall,
    mostPauseMs: MOST_CALL_PAUSE_MS,
    now: () => performance.now(),
    after: (ms, then) => void setTimeout(then, ms),
  });
}

export function connectionTo(
  setting: StorageSetting,
  service: 'queue' | 'table',
  credential: TokenCredential,
): string | { endpoint: string; credential: TokenCredential } {
  if ('connection' in setting) return setting.connection;
  return { endpoint: `https://${setting.account}.${service}.core.windows.net`, credential };
}

function catalog(setting: StorageSetting, credential: TokenCredential): Catalog {
  const connection = connectionTo(setting, 'table', credential);
  return catalogOf((tableName, schema) => azureTable({ connection, tableName, schema }));
}

function vaultContainers(setting: StorageSetting, credential: TokenCredential): VaultContainers {
  if ('account' in setting) {
    return azureVaultContainers({ blobServiceUrl: `https://${setting.account}.blob.core.windows.net`, credential });
  }
  try {
    const { url, credential: key } = BlobServiceClient.fromConnectionString(setting.connection);
    return azureVaultContainers({ blobServiceUrl: url, credential: key as StorageSharedKeyCredential });
  } catch (cause) {
    // The text itself holds a key and is not repeated.
    throw new BackupError('SettingInvalid', 'the connection string of the vault account cannot be read', { cause });
  }
}
