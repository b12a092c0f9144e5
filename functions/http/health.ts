import { app } from '@azure/functions';
import { inInvocation } from '../../shared/app/log.ts';
import { theApp } from '../../shared/app/services.ts';
import { ok, toHttp } from '../../shared/arm/http.ts';
import { withRequestIds } from '../../shared/arm/serve.ts';

/** Whether the app runs with settings that it can read. */
app.http('health', {
  route: 'api/health',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: (request, context) =>
    inInvocation(context, async () =>
      toHttp(await withRequestIds(theApp().ports, request, async () => ok({ status: 'ok' }))),
    ),
});
