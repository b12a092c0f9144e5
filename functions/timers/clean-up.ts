import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { labelled } from '../../shared/services/request-context.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';

/** Once a day → a cleanup run for each vault: expired snapshots go, expired points merge, sparse packs are compacted. */
app.timer('clean-up', {
  schedule: '0 15 4 * * *',
  handler: (_timer, context) =>
    settle(context, async () => {
      context.log(labelled(`cleanup of ${await cleanUp(theApp().ports)} vaults begun`));
    }),
});
