import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { sweep } from '../../shared/services/sweep.ts';

/** Once a day → a message for each item, whose leftovers of crashes are marked and, a grace later, deleted. */
app.timer('sweep', {
  schedule: '0 45 5 * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`sweep of ${await sweep(theApp().ports)} items begun`, 'info');
    }),
});
