import { TableClient } from '@azure/data-tables';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { QueueServiceClient } from '@azure/storage-queue';
import { QUEUES } from '../queue/steps.ts';
import type { Probe } from '../services/health.ts';
import { connectionTo } from './compose.ts';
import type { Config } from './config.ts';
import { azureCredential } from './credentials.ts';

/** Nothing is tried again: who asks for health asks again. */
const BLOB_OR_QUEUE = { retryOptions: { maxTries: 1 } };
const TABLE = { retryOptions: { maxRetries: 0 } };

/**
 * What the app cannot do without: its tables, its queues, the account of the vaults. Each is asked for something small by a call that
 * the app's data roles allow. That a table, queue or container is not there yet is an answer too.
 */
export function probesOf({ appStorage, vaultStorage }: Config): readonly Probe[] {
  const credential = azureCredential();
  const table = () => {
    const to = connectionTo(appStorage, 'table', credential);
    return typeof to === 'string'
      ? TableClient.fromConnectionString(to, 'strataVaults', {
          ...TABLE,
          allowInsecureConnection: /TableEndpoint=http:|UseDevelopmentStorage/i.test(to),
        })
      : new TableClient(to.endpoint, 'strataVaults', to.credential, TABLE);
  };
  const queue = () => {
    const to = connectionTo(appStorage, 'queue', credential);
    const service =
      typeof to === 'string'
        ? QueueServiceClient.fromConnectionString(to, BLOB_OR_QUEUE)
        : new QueueServiceClient(to.endpoint, to.credential, BLOB_OR_QUEUE);
    return service.getQueueClient(QUEUES[0]);
  };
  const container = (): ContainerClient => {
    const service =
      'connection' in vaultStorage
        ? BlobServiceClient.fromConnectionString(vaultStorage.connection, BLOB_OR_QUEUE)
        : new BlobServiceClient(`https://${vaultStorage.account}.blob.core.windows.net`, credential, BLOB_OR_QUEUE);
    return service.getContainerClient('vault-health');
  };
  return [
    { name: 'tables', check: (abortSignal) => answered(table().getEntity('health', 'health', { abortSignal })) },
    { name: 'queues', check: (abortSignal) => answered(queue().getProperties({ abortSignal })) },
    { name: 'vaults', check: (abortSignal) => answered(container().getProperties({ abortSignal })) },
  ];
}

async function answered(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode !== 404) throw error;
  }
}
