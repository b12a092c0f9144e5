import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { watchJobs } from '../../shared/services/watch.ts';

/** Every quarter of an hour → jobs that lost their messages get them again, jobs that can never end are failed. */
app.timer('watch-jobs', {
  schedule: '0 */15 * * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`${await watchJobs(theApp().ports)} jobs woken`, 'info');
    }),
});
