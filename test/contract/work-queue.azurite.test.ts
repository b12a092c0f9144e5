import { setTimeout as sleep } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { QUEUES } from '../../shared/queue/steps.ts';
import { storageQueue } from '../../shared/queue/storage-queue.ts';
import { type ContractStorage, contractStorage } from '../support/contract-storage.ts';
import { type TakenMessage, workQueueContract } from './work-queue.contract.ts';

let storage: ContractStorage;
beforeAll(async () => {
  storage = await contractStorage();
});
afterAll(() => storage?.stop());

workQueueContract('Azure Queue Storage', async () => {
  const service = QueueServiceClient.fromConnectionString(storage.connectionString);
  for (const name of QUEUES) {
    const client = service.getQueueClient(name);
    if (await client.exists()) await client.clearMessages();
  }
  return {
    queue: storageQueue({ connection: storage.connectionString }),
    async take(queueName) {
      const client = service.getQueueClient(queueName);
      if (!(await client.exists())) return [];
      const taken: TakenMessage[] = [];
      for (;;) {
        const { receivedMessageItems: items } = await client.receiveMessages({ numberOfMessages: 32 });
        if (items.length === 0) return taken;
        for (const { messageId, popReceipt, messageText, expiresOn } of items) {
          taken.push({ text: messageText, expiresAt: expiresOn });
          await client.deleteMessage(messageId, popReceipt);
        }
      }
    },
    wait: (seconds) => sleep(seconds * 1_000),
  };
});

describe('Azure Queue Storage adapter', () => {
  const step = { step: 'clean-item', v: 1, vault: 'v', itemId: 'i' } as const;

  it('an outage is StorageUnavailable', async () => {
    const nowhere = storage.connectionString.replace(
      /QueueEndpoint=http:\/\/[^/]+/,
      'QueueEndpoint=http://127.0.0.1:1',
    );
    await expect(storageQueue({ connection: nowhere }).send(step)).rejects.toMatchObject({
      code: 'StorageUnavailable',
      cause: expect.objectContaining({ code: 'ECONNREFUSED' }) as unknown,
    });
  });

  it('a wrong key is StorageUnavailable and says so', async () => {
    const key = Buffer.from('wrong').toString('base64');
    const wrong = storage.connectionString.replace(/AccountKey=[^;]+/, `AccountKey=${key}`);
    await expect(storageQueue({ connection: wrong }).send(step)).rejects.toMatchObject({
      code: 'StorageUnavailable',
      message: expect.stringContaining('Auth') as unknown,
    });
  });

  it('refuses a connection string that cannot work, without repeating it', () => {
    expect(() => storageQueue({ connection: 'AccountKey=secret' })).toThrow(
      expect.objectContaining({ code: 'SettingInvalid', message: expect.not.stringContaining('secret') as unknown }),
    );
  });
});
