import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';

/** Whether the app runs with settings that it can read. */
app.http('health', {
  route: 'api/health',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: () => {
    theApp();
    return { jsonBody: { status: 'ok' } };
  },
});
