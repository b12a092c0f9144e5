import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';

/** Once a day → a cleanup run for each vault: expired snapshots go, expired points merge, sparse packs are compacted. */
app.timer('clean-up', {
  schedule: '0 15 4 * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`cleanup of ${await cleanUp(theApp().ports)} vaults begun`, 'info');
    }),
});
