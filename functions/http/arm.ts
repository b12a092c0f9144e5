import { app } from '@azure/functions';
import { inInvocation } from '../../shared/app/log.ts';
import { theApp } from '../../shared/app/services.ts';
import { toHttp } from '../../shared/arm/http.ts';
import { armApi } from '../../shared/arm/serve.ts';

let serve: ReturnType<typeof armApi> | undefined;

/** Every path that no other function has → the ARM API. Bearer tokens are checked in code, so the platform asks for no key. */
app.http('arm', {
  route: '{*path}',
  // The last two are allowed nowhere, and are told so.
  methods: ['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'],
  authLevel: 'anonymous',
  handler: (request, context) =>
    inInvocation(context, async () => {
      serve ??= armApi(theApp());
      return toHttp(await serve(request));
    }),
});
