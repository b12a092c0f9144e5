import { QueueServiceClient, type QueueClient } from '@azure/storage-queue';
import type { IndexedFunction } from './bindings.ts';
import { encodeMessage } from './queue-text.ts';
import type { RpcInvocationResponse, RpcTypedData } from './rpc.ts';
import type { QueueSettings } from './settings.ts';

/** Queue clients by connection and name: each keeps its own connections, so they are made once. */
export function createQueueClients(): (connectionString: string, queueName: string) => QueueClient {
  const services = new Map<string, QueueServiceClient>();
  return (connectionString, queueName) => {
    let service = services.get(connectionString);
    if (service === undefined) {
      service = QueueServiceClient.fromConnectionString(connectionString);
      services.set(connectionString, service);
    }
    return service.getQueueClient(queueName);
  };
}

/**
 * Sends what a function put out to its queue outputs, a message for each element of an array. A failure to send fails the
 * invocation, so a triggering message comes again.
 */
export async function sendQueueOutputs(
  fn: IndexedFunction,
  response: RpcInvocationResponse,
  queueClient: (connectionString: string, queueName: string) => QueueClient,
  encoding: QueueSettings['messageEncoding'],
  onEnqueued: (queueName: string) => void,
): Promise<void> {
  for (const output of fn.queueOutputs) {
    const data =
      output.name === '$return'
        ? response.returnValue
        : response.outputData?.find(({ name }) => name === output.name)?.data;
    const messages = messagesOf(data);
    if (messages.length === 0) continue;
    const client = queueClient(output.connectionString, output.queueName);
    await client.createIfNotExists();
    for (const message of messages) await client.sendMessage(encodeMessage(message, encoding));
    onEnqueued(output.queueName);
  }
}

function messagesOf(data: RpcTypedData | null | undefined): string[] {
  if (data === null || data === undefined) return [];
  if (typeof data.string === 'string') return [data.string];
  if (data.bytes) return [Buffer.from(data.bytes).toString('utf8')];
  if (typeof data.int === 'number') return [String(data.int)];
  if (typeof data.double === 'number') return [String(data.double)];
  if (typeof data.json !== 'string') return [];
  const value: unknown = JSON.parse(data.json);
  if (!Array.isArray(value)) return [data.json];
  return value.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)));
}
