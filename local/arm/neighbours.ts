import * as z from 'zod';
import type { TokenVerifier } from './authenticate.ts';
import {
  ArmError,
  errorResponse,
  methodNotAllowed,
  parseBody,
  readJson,
  requireMethod,
  resourceNotFound,
} from './errors.ts';
import { canonicalLocation } from './location.ts';
import { findProvider, listProviders, unknownNamespace } from './providers.ts';
import { PLATFORM_GROUP, type ResourceGroup, type ResourceGroups } from './resource-groups.ts';
import { parseArmPath, publicBase, requireApiVersion, sameText, serveArm } from './router.ts';
import type { ArmPath, Handler } from './router.ts';
import { findStorageAccount, storageAccountView, type StorageAccountEndpoints } from './storage-accounts.ts';

export interface NeighboursOptions {
  subscriptionId: string;
  tenantId: string;
  /** The platform's region. */
  location: string;
  storage: readonly StorageAccountEndpoints[];
  /** Those of the compute emulator: a group that is first used there is found here. */
  resourceGroups: ResourceGroups;
  /** The audience that clients are told to ask tokens for. */
  audience: string;
  verify: TokenVerifier;
}

/** Namespaces whose resources other handlers serve; only the look-up and the registration of the namespace are ours. */
const SERVED_ELSEWHERE = ['microsoft.compute', 'microsoft.recoveryservices', 'microsoft.features'];

const groupBody = z.object({
  location: z.string().optional(),
  tags: z.record(z.string(), z.string()).nullish(),
});

/**
 * The look-ups that Azure's clients make around the resources they work on: cloud metadata, tenants, subscriptions,
 * locations, resource groups, providers and storage accounts. Answers a quick 404 for every other path of ARM's, so that
 * only what Strata serves itself goes past it.
 */
export function createNeighbours(options: NeighboursOptions): Handler {
  const rules = { subscriptionId: options.subscriptionId, verify: options.verify };
  return async (request) => {
    const url = new URL(request.url);
    if (!/^\/+(metadata|subscriptions|tenants)(\/|$)/i.test(url.pathname)) return undefined;
    let path: ArmPath;
    try {
      path = parseArmPath(url.pathname);
    } catch (error) {
      return errorResponse(error);
    }
    if (path.segments.length === 2 && sameText(path.segments[0], 'metadata') && sameText(path.segments[1], 'endpoints'))
      return serveMetadata(options, request, url);
    if (sameText(path.segments[0], 'tenants') && path.segments.length === 1)
      return serveArm(request, rules, path, async () => get(request, () => ({ value: [tenant(options)] })));
    if (sameText(path.segments[0], 'subscriptions') && !isServedElsewhere(path))
      return serveArm(request, rules, path, () => serve(options, request, path));
    return undefined;
  };
}

function isServedElsewhere(path: ArmPath): boolean {
  const isNamespaceItself =
    path.resource.length === 0 || (path.resource.length === 1 && sameText(path.resource[0], 'register'));
  return SERVED_ELSEWHERE.includes(path.provider?.toLowerCase() ?? '') && !isNamespaceItself;
}

async function serve(options: NeighboursOptions, request: Request, path: ArmPath): Promise<Response> {
  if (path.provider !== undefined) return serveProvider(options, request, path, path.provider);
  if (path.resourceGroup !== undefined && path.rest.length === 0) {
    return serveGroup(options, request, path.resourceGroup);
  }
  const [collection, ...more] = path.rest;
  if (path.subscriptionId === undefined) {
    return get(request, () => ({ value: [subscription(options)], count: { type: 'Total', value: 1 } }));
  }
  if (collection === undefined) return get(request, () => subscription(options));
  if (more.length === 0) {
    switch (collection.toLowerCase()) {
      case 'resourcegroups':
        return get(request, () => ({
          value: options.resourceGroups.list().map((group) => groupView(options, group)),
          nextLink: null,
        }));
      case 'locations':
        return get(request, () => ({ value: [locationView(options)] }));
      case 'providers':
        return get(request, () => ({ value: listProviders(options.subscriptionId, options.location), nextLink: null }));
      default:
    }
  }
  throw new ArmError(404, 'ResourceNotFound', `The local platform has no resource '/${path.segments.join('/')}'.`);
}

async function serveProvider(
  options: NeighboursOptions,
  request: Request,
  path: ArmPath,
  namespace: string,
): Promise<Response> {
  const [type, name, ...more] = path.resource;
  if (type === undefined) {
    return get(request, () => findProvider(namespace, options.subscriptionId, options.location));
  }
  if (sameText(type, 'register') && name === undefined) {
    requireMethod(request, ['POST']);
    return Response.json(findProvider(namespace, options.subscriptionId, options.location));
  }
  const resourceGroup = path.resourceGroup ?? PLATFORM_GROUP;
  if (sameText(namespace, 'Microsoft.Storage') && sameText(type, 'storageAccounts') && more.length === 0) {
    return get(request, () =>
      name === undefined
        ? { value: options.storage.map((account) => storageAccountView(account, options)) }
        : storageAccountView(findStorageAccount(options.storage, name, resourceGroup), options),
    );
  }
  if (name === undefined) throw unknownNamespace(namespace);
  throw resourceNotFound(`${namespace}/${type}`, name, resourceGroup);
}

async function serveGroup(options: NeighboursOptions, request: Request, name: string): Promise<Response> {
  const found = options.resourceGroups.find(name);
  switch (request.method) {
    case 'HEAD':
      return new Response(null, { status: found === undefined ? 404 : 204 });
    case 'GET':
      if (found === undefined) {
        throw new ArmError(404, 'ResourceGroupNotFound', `Resource group '${name}' could not be found.`);
      }
      return Response.json(groupView(options, found));
    case 'PUT': {
      const body = parseBody(groupBody, await readJson(request));
      const location = canonicalLocation(body.location);
      const { created, group } = options.resourceGroups.put(name, location, body.tags ?? {});
      return Response.json(groupView(options, group), { status: created ? 201 : 200 });
    }
    default:
      throw methodNotAllowed(request, ['GET', 'HEAD', 'PUT']);
  }
}

/** What `az cloud register` asks before there is a token. */
async function serveMetadata(options: NeighboursOptions, request: Request, url: URL): Promise<Response> {
  try {
    requireApiVersion(url);
    requireMethod(request, ['GET']);
    const base = publicBase(request);
    const endpoint = new URL(options.storage[0]?.blob ?? base).host;
    return Response.json({
      name: 'StrataLocal',
      resourceManager: `${base}/`,
      portal: `${base}/`,
      gallery: `${base}/`,
      graph: `${base}/`,
      graphAudience: options.audience,
      authentication: {
        loginEndpoint: `${base}/adfs`,
        audiences: [options.audience],
        tenant: options.tenantId,
        identityProvider: 'ADFS',
      },
      suffixes: { storage: endpoint, keyVaultDns: 'vault.strata.local' },
    });
  } catch (error) {
    return errorResponse(error);
  }
}

function tenant(options: NeighboursOptions): object {
  return {
    id: `/tenants/${options.tenantId}`,
    tenantId: options.tenantId,
    displayName: 'Strata local platform',
    tenantCategory: 'Home',
  };
}

function subscription(options: NeighboursOptions): object {
  return {
    id: `/subscriptions/${options.subscriptionId}`,
    subscriptionId: options.subscriptionId,
    tenantId: options.tenantId,
    displayName: 'Strata local platform',
    state: 'Enabled',
    authorizationSource: 'RoleBased',
    managedByTenants: [],
    subscriptionPolicies: { locationPlacementId: 'Public_2014-09-01', quotaId: 'Local', spendingLimit: 'Off' },
  };
}

function locationView(options: NeighboursOptions): object {
  return {
    id: `/subscriptions/${options.subscriptionId}/locations/${options.location}`,
    name: options.location,
    displayName: options.location,
    regionalDisplayName: options.location,
    metadata: { regionType: 'Physical', regionCategory: 'Recommended' },
  };
}

function groupView(options: NeighboursOptions, group: ResourceGroup): object {
  return {
    id: `/subscriptions/${options.subscriptionId}/resourceGroups/${group.name}`,
    name: group.name,
    type: 'Microsoft.Resources/resourceGroups',
    location: group.location,
    tags: group.tags,
    properties: { provisioningState: 'Succeeded' },
  };
}

function get(request: Request, body: () => object): Response {
  requireMethod(request, ['GET']);
  return Response.json(body());
}
