import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { jobOf, parseStep, QUEUES } from '../../shared/queue/steps.ts';
import { labelled } from '../../shared/services/request-context.ts';
import { runStep } from '../../shared/services/run-step.ts';

/** One message on a queue of steps → one more piece of a job, or a failed job that says why. The log tells which step it is. */
for (const queueName of QUEUES) {
  app.storageQueue(queueName.replace('strata-', ''), {
    connection: 'AzureWebJobsStorage',
    queueName,
    handler: (entry, context) =>
      settle(
        context,
        async () => {
          const step = parseStep(entry);
          context.log(labelled(`step ${step.step} (${context.invocationId})`));
          await runStep(theApp().ports, step);
        },
        jobOf(entry),
      ),
  });
}
