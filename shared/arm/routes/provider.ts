import { z } from 'zod';
import { ok } from '../http.ts';
import { type Route, route } from '../route.ts';
import { READER } from './paths.ts';

const NAMESPACES = ['Microsoft.RecoveryServices', 'Microsoft.Features'] as const;
const VERBS = { GET: 'read', PUT: 'write', PATCH: 'write', DELETE: 'delete' } as const;

/** What a route does in the words of roles, such as `Microsoft.RecoveryServices/vaults/backupJobs/cancel/action`. */
function operationOf({ method, template }: Route, namespace: string): string | undefined {
  const below = template.split(`/providers/${namespace}/`)[1];
  if (below === undefined) return undefined;
  const types = below.split('/').filter((segment) => !segment.startsWith('{'));
  return [namespace, ...types, method === 'POST' ? 'action' : VERBS[method]].join('/');
}

/** The operations that `served` have, each once, by name. */
function operationsOf(served: readonly Route[], namespace: string): object[] {
  const summaries = new Map<string, string>();
  for (const each of served) {
    const name = each.refusal === undefined ? operationOf(each, namespace) : undefined;
    if (name !== undefined && !summaries.has(name)) summaries.set(name, each.summary);
  }
  return [...summaries]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, description]) => ({
      name,
      display: {
        provider: namespace,
        resource: name.split('/').slice(1, -1).join('/'),
        operation: name.split('/').at(-1),
        description,
      },
      origin: 'user',
    }));
}

/** What the providers can do, by the table of what is served. */
export function providerRoutes(served: readonly Route[]): Route[] {
  return NAMESPACES.map((namespace) => {
    const value = operationsOf(served, namespace);
    return route({
      method: 'GET',
      template: `/providers/${namespace}/operations`,
      role: READER,
      summary: `The operations of ${namespace}`,
      answers: { 200: z.looseObject({ value: z.array(z.looseObject({ name: z.string() })) }) },
      handler: async () => ok({ value, nextLink: null }),
    });
  });
}
