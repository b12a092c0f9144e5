import { app } from '@azure/functions';
import { inInvocation } from '../../shared/app/log.ts';
import { theApp } from '../../shared/app/services.ts';
import { backupNow } from '../../shared/arm/backup-now.ts';
import { toHttp } from '../../shared/arm/http.ts';

/** A plain POST with a function key → an on-demand backup. */
app.http('backup-now', {
  route: 'api/backup-now',
  methods: ['POST'],
  authLevel: 'function',
  handler: (request, context) => inInvocation(context, async () => toHttp(await backupNow(theApp(), request))),
});
