import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { parseStep, QUEUE_OF } from '../../shared/queue/steps.ts';
import { runStep } from '../../shared/services/run-step.ts';

/** One message on a step's queue → one more piece of a job, or a failed job that says why. Each step is a function of its own. */
for (const [name, queueName] of Object.entries(QUEUE_OF)) {
  app.storageQueue(name, {
    connection: 'AzureWebJobsStorage',
    queueName,
    handler: (entry, context) => settle(context.error.bind(context), () => runStep(theApp().ports, parseStep(entry))),
  });
}
