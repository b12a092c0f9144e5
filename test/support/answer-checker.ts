import { z } from 'zod';
import { openApi } from '../../shared/arm/openapi.ts';
import { findRoute, type Route, segmentsOf } from '../../shared/arm/route.ts';
import { ROUTES } from '../../shared/arm/routes.ts';

/** An answer as it came, its body parsed. */
export interface Answered {
  readonly status: number;
  readonly headers: { get(name: string): string | null | undefined };
  readonly body: unknown;
}

/** Says what an answer has that the OpenAPI document does not tell; undefined when all is as described. */
export function answerChecker(
  routes: readonly Route[] = ROUTES,
): (method: string, pathname: string, answer: Answered) => string | undefined {
  // oxlint-disable-next-line typescript/no-explicit-any -- walks the document as JSON
  const document: any = JSON.parse(JSON.stringify(openApi('https://strata.example', routes)));
  const error = z.fromJSONSchema(document.components.schemas.ArmError);
  const made = new Map<unknown, z.ZodType>();
  const schemaOf = (said: object): z.ZodType => {
    const schema = made.get(said) ?? z.fromJSONSchema(said as Parameters<typeof z.fromJSONSchema>[0]);
    made.set(said, schema);
    return schema;
  };
  const fits = (schema: z.ZodType, body: unknown): string | undefined => {
    const parsed = schema.safeParse(body);
    return parsed.success ? undefined : z.prettifyError(parsed.error);
  };
  return (method, pathname, { status, headers, body }) => {
    if (!headers.get('x-ms-request-id') || !headers.get('x-ms-correlation-request-id')) return 'the ids are missing';
    if (status >= 400) return fits(error, body);
    const found = findRoute(routes, method, segmentsOf(pathname) ?? []);
    if (found === undefined || !('route' in found)) return 'there is no such route';
    const said = document.paths[found.route.template][method.toLowerCase()].responses[status];
    if (said === undefined) return 'the status is not described';
    const schema = said.content?.['application/json']?.schema;
    if (schema === undefined) return body === undefined ? undefined : 'no body is described';
    return fits(schemaOf(schema), body);
  };
}
