import { BackupError } from '../domain/errors.ts';
import type { Route } from './route.ts';

/** The namespace of a path's provider and the segments behind it: type, name, type, name, ... or an action at the end. */
interface ProviderPath {
  readonly namespace: string;
  readonly resource: readonly string[];
}

function providerPath(segments: readonly string[]): ProviderPath | undefined {
  const at = segments.findIndex((segment) => segment.toLowerCase() === 'providers');
  const namespace = segments[at + 1];
  return at < 0 || namespace === undefined ? undefined : { namespace, resource: segments.slice(at + 2) };
}

/**
 * Why there is nothing at a path that no route has, in ARM's words: the namespace is not served here, it has no such type, or, where every
 * type is one of a longer path, there is just nothing to ask for.
 */
export function unknownPath(routes: readonly Route[], segments: readonly string[], apiVersion: string): BackupError {
  const asked = providerPath(segments);
  if (asked === undefined) return nothingAt(segments);
  const served = routes.flatMap(({ template }) => providerPath(template.split('/')) ?? []);
  const own = served.filter(({ namespace }) => namespace.toLowerCase() === asked.namespace.toLowerCase());
  if (own.length === 0) {
    const known = [...new Set(served.map(({ namespace }) => namespace))].join(', ');
    return new BackupError(
      'InvalidResourceNamespace',
      `The resource namespace '${short(asked.namespace)}' is invalid: expected ${known}.`,
    );
  }
  if (asked.resource.length === 0 || own.some(({ resource }) => beginsWith(resource, asked.resource)))
    return nothingAt(segments);
  const type = asked.resource.filter((_, i) => i % 2 === 0).join('/');
  return new BackupError(
    'InvalidResourceType',
    `The resource type '${short(type)}' could not be found in the namespace '${own[0]!.namespace}' for api version '${apiVersion}'; docs/api.md lists what is there.`,
  );
}

/** Nobody's path: neither that of a subscription nor that of a provider. */
export function nothingAt(segments: readonly string[]): BackupError {
  return new BackupError(
    'ResourceNotFound',
    `there is nothing at /${short(segments.join('/'))}; docs/api.md lists the paths`,
  );
}

/** Whether the types of `asked` are the first ones of a route's; names are any, also where the route has a word for one. */
function beginsWith(resource: readonly string[], asked: readonly string[]): boolean {
  return (
    asked.length <= resource.length &&
    asked.every((segment, i) => i % 2 === 1 || segment.toLowerCase() === resource[i]!.toLowerCase())
  );
}

const short = (text: string): string => text.slice(0, 400);
