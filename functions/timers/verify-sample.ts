import { app } from '@azure/functions';
import { theApp, theLog } from '../../shared/app/services.ts';
import { settle } from '../../shared/app/settle.ts';
import { verifySample } from '../../shared/services/verify.ts';

/** Once a day → a message for each item, of which a little is verified: whatever has waited longest. */
app.timer('verify-sample', {
  schedule: '0 15 5 * * *',
  handler: (_timer, context) =>
    settle(context, theLog(), async () => {
      theLog()(`verification of ${await verifySample(theApp().ports)} items begun`, 'info');
    }),
});
