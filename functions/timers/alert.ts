import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { tellAlerts } from '../../shared/services/alerts.ts';

/** Every quarter of an hour, after the ticks that start and watch → whoever receives alerts is told what is wrong, and what is over. */
app.timer('alert', {
  schedule: '0 7,22,37,52 * * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`${await tellAlerts(theApp().ports)} alerts told`, 'info');
    }),
});
