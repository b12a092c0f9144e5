import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { subjectOf, parseStep, QUEUES } from '../../shared/queue/steps.ts';
import { giveUp } from '../../shared/services/run-step.ts';

/** A message that has failed every time → its job ends with the reason. */
for (const queueName of QUEUES) {
  app.storageQueue(`${queueName.replace('strata-', '')}-given-up`, {
    connection: 'AzureWebJobsStorage',
    queueName: `${queueName}-poison`,
    handler: (entry, context) =>
      settle(context, theLog(), async () => giveUp(theApp().ports, parseStep(entry)), subjectOf(entry)),
  });
}
