import { app } from '@azure/functions';
import { theApp } from '../../shared/app/services.ts';
import { ok, publicBase, toHttp } from '../../shared/arm/http.ts';
import { openApi } from '../../shared/arm/openapi.ts';
import { withRequestIds } from '../../shared/arm/serve.ts';

/** The description of the API, which is no secret: it tells nothing of this deployment but its address. */
app.http('openapi', {
  route: 'api/openapi.json',
  methods: ['GET'],
  authLevel: 'anonymous',
  handler: async (request) => {
    const { config, ports } = theApp();
    return toHttp(await withRequestIds(ports, request, async () => ok(openApi(publicBase(request, config.publicUrl)))));
  },
});
