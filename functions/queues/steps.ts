import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { subjectOf, parseStep, QUEUES } from '../../shared/queue/steps.ts';
import { runStep } from '../../shared/services/run-step.ts';

/** One message on a queue of steps → one more piece of a job, or a failed job that says why. The log tells which step it is. */
for (const queueName of QUEUES) {
  app.storageQueue(queueName.replace('strata-', ''), {
    connection: 'AzureWebJobsStorage',
    queueName,
    handler: (entry, context) =>
      settle(
        context,
        theLog(),
        async () => {
          const step = parseStep(entry);
          theLog()(`step ${step.step} (${context.invocationId})`, 'info');
          await runStep(theApp().ports, step);
        },
        subjectOf(entry),
      ),
  });
}
