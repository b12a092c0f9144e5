import { appendFileSync } from 'node:fs';
import { app, output } from '@azure/functions';

/** Everything that a test wants to see goes to this file, a JSON object per line. */
const record = (entry) =>
  appendFileSync(process.env.HOST_APP_RECORD, `${JSON.stringify({ ...entry, pid: process.pid })}\n`);

app.storageQueue('work', {
  connection: 'AzureWebJobsStorage',
  queueName: '%WORK_QUEUE%',
  handler: async (entry, context) => {
    const { dequeueCount, id, popReceipt, insertionTime } = context.triggerMetadata;
    record({ fn: 'work', entry, dequeueCount, hasIds: Boolean(id && popReceipt), insertionTime });
    if (entry.sleepMs) await new Promise((resolve) => setTimeout(resolve, entry.sleepMs));
    if (entry.failTimes >= dequeueCount) throw new Error(`failing on purpose, time ${dequeueCount}`);
    record({ fn: 'work-done', entry });
  },
});
app.storageQueue('relay', {
  connection: 'AzureWebJobsStorage',
  queueName: '%RELAY_QUEUE%',
  return: output.storageQueue({ connection: 'AzureWebJobsStorage', queueName: '%WORK_QUEUE%' }),
  handler: (entry) => {
    if (entry.refuse) throw new Error('refused on purpose');
    return [{ relayed: entry }, { relayed: 'again' }];
  },
});

app.storageQueue('given-up', {
  connection: 'AzureWebJobsStorage',
  queueName: '%RELAY_QUEUE%-poison',
  handler: (entry, context) => {
    record({ fn: 'given-up', entry, dequeueCount: context.triggerMetadata.dequeueCount });
    if (entry.failGivenUp) throw new Error('failing on purpose, even here');
  },
});
