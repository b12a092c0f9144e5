import { DefaultAzureCredential } from '@azure/identity';
import { app } from '@azure/functions';

const describe = async (request, context) => ({
  jsonBody: {
    functionName: context.functionName,
    method: request.method,
    url: request.url,
    params: request.params,
    query: Object.fromEntries(request.query),
    header: request.headers.get('x-test'),
    body: await request.text(),
  },
});

app.http('echo', {
  methods: ['GET', 'POST', 'PUT'],
  authLevel: 'anonymous',
  route: 'echo/{kind}/{id:int?}',
  handler: describe,
});
app.http('rest', { methods: ['GET', 'PUT'], authLevel: 'anonymous', route: '{*rest}', handler: describe });
app.http('literal', { methods: ['GET'], authLevel: 'anonymous', route: 'echo/literal', handler: describe });
app.http('guarded', { methods: ['GET'], authLevel: 'function', route: 'guarded', handler: () => ({ body: 'in' }) });
app.http('admins', { methods: ['GET'], authLevel: 'admin', route: 'admins', handler: () => ({ body: 'in' }) });
app.http('bytes', {
  methods: ['POST'],
  authLevel: 'anonymous',
  route: 'bytes',
  handler: async (request) => ({
    status: 201,
    headers: { 'x-answer': 'yes' },
    cookies: [{ name: 'a', value: 'b c', path: '/', httpOnly: true, sameSite: 'Lax' }],
    body: Buffer.from(await request.arrayBuffer()).reverse(),
  }),
});
app.http('nothing', { methods: ['GET'], authLevel: 'anonymous', route: 'nothing', handler: () => undefined });
app.http('broken', {
  methods: ['GET'],
  authLevel: 'anonymous',
  route: 'broken',
  handler: () => {
    throw new Error('broken on purpose');
  },
});
app.http('identity', {
  methods: ['GET'],
  authLevel: 'anonymous',
  route: 'identity',
  handler: async () => {
    const { token } = await new DefaultAzureCredential().getToken('https://management.azure.com/.default');
    const url = `${process.env.STRATA_ARM_ENDPOINT}/subscriptions/${process.env.STRATA_SUBSCRIPTION_ID}?api-version=2022-12-01`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    return { jsonBody: { status: answer.status, subscription: await answer.json() } };
  },
});
app.http('environment', {
  methods: ['GET'],
  authLevel: 'admin',
  route: 'environment',
  handler: () => ({ jsonBody: process.env }),
});
