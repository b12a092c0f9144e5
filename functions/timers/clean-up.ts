import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { cleanUp } from '../../shared/services/clean-up.ts';

/** Once a day → a message for each item, whose expired snapshots go and whose expired points merge. */
app.timer('clean-up', {
  schedule: '0 15 4 * * *',
  handler: (_timer, context) =>
    settle(context.error.bind(context), async () => {
      context.log(`cleanup of ${await cleanUp(theApp().ports)} items begun`);
    }),
});
