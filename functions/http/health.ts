import { app } from '@azure/functions';
import { answerHealth } from '../../shared/app/health.ts';
import { healthAnswer, healthDetails } from '../../shared/arm/health.ts';

/** Whether the app can work, for whoever watches: 200 or 503. */
app.http('health', {
  route: 'api/health',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: (request, context) => answerHealth(request, context, healthAnswer),
});

/** The same with what is wrong, for who holds a function key. */
app.http('health-details', {
  route: 'api/health/details',
  methods: ['GET'],
  authLevel: 'function',
  handler: (request, context) => answerHealth(request, context, healthDetails),
});
