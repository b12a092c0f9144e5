import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { takeDue } from '../../shared/services/take-due.ts';

/** Every half hour (schedules lie on half hours) → a backup job for each item for which one is due. */
app.timer('take-due-snapshots', {
  schedule: '0 */30 * * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`${await takeDue(theApp().ports)} backups started`, 'info');
    }),
});
