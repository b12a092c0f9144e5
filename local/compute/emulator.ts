import { RestError } from '@azure/storage-blob';
import { ArmError, methodNotAllowed, readJson, requireMethod } from '../arm/errors.ts';
import type { TokenVerifier } from '../arm/authenticate.ts';
import { openResourceGroups, type ResourceGroups } from '../arm/resource-groups.ts';
import { parseArmPath, sameText, serveArm, type ArmPath, type Handler } from '../arm/router.ts';
import { openBlobAccounts, type StorageAccount } from './blob-accounts.ts';
import { createExclusive, type ComputeContext, type ResourceKind } from './context.ts';
import { createDisks } from './disks.ts';
import { createSnapshots } from './snapshots.ts';
import { openComputeState } from './store.ts';
import { createVirtualMachines, instanceViewOf } from './virtual-machines.ts';

export interface ComputeEmulatorOptions {
  /** Folder for the emulator's state; one process at a time. */
  dataDir: string;
  subscriptionId: string;
  /** The platform's region: where resource groups that are first used here lie. */
  location: string;
  /** The platform's storage accounts. The first one holds the bytes of managed disks, in containers named `md-…`. */
  storage: readonly StorageAccount[];
  /** The platform's clock, milliseconds since 1970. */
  now: () => number;
  /**
   * True where storage copies page blobs soundly, as the platform's completed storage does. Default false: stock Azurite's
   * copies share their pages with the source, so bytes are read and written instead (some 20 to 60 MiB/s).
   */
  serverCopies?: boolean;
  /** Checks the bearer token of each request. Left out only where the front has done so. */
  verify?: TokenVerifier;
}

export interface ComputeEmulator {
  /** Serves `/subscriptions/…/providers/Microsoft.Compute/{type}…`; undefined for every other path. */
  handle: Handler;
  resourceGroups: ResourceGroups;
}

/**
 * Microsoft.Compute in small: virtual machines, managed disks and snapshots over real page blobs, with the wire format of
 * the service, so that the official SDK is its client. Every change is answered in its final state; nothing is polled.
 *
 * @throws Error when the state in `dataDir` cannot be read
 */
export function createComputeEmulator(options: ComputeEmulatorOptions): ComputeEmulator {
  const context: ComputeContext = {
    subscriptionId: options.subscriptionId,
    now: options.now,
    state: openComputeState(options.dataDir),
    groups: openResourceGroups(options.dataDir, options.location),
    accounts: openBlobAccounts(options.storage),
    serverCopies: options.serverCopies ?? false,
    exclusive: createExclusive(),
  };
  const kinds: Record<string, ResourceKind> = {
    virtualmachines: createVirtualMachines(context),
    disks: createDisks(context),
    snapshots: createSnapshots(context),
  };
  const rules = { subscriptionId: options.subscriptionId, verify: options.verify };

  return {
    resourceGroups: context.groups,
    async handle(request) {
      const url = new URL(request.url);
      if (!/\/microsoft\.compute\//i.test(url.pathname)) return undefined;
      const path = parseArmPath(url.pathname);
      if (!sameText(path.provider, 'Microsoft.Compute') || sameText(path.resource[0], 'register')) return undefined;
      return serveArm(request, rules, path, async () => {
        try {
          return await serve(context, kinds, request, path);
        } catch (error) {
          throw bytesMissing(error) ?? error;
        }
      });
    },
  };
}

async function serve(
  context: ComputeContext,
  kinds: Record<string, ResourceKind>,
  request: Request,
  path: ArmPath,
): Promise<Response> {
  const [type, name, action, ...more] = path.resource;
  if (sameText(type, 'locations') && name !== undefined && action !== undefined && more.length === 0) {
    return listAt(kinds, name, action, request);
  }
  const kind = kinds[type?.toLowerCase() ?? ''];
  if (kind === undefined || more.length > 0) throw noSuchType(path);
  if (name === undefined) {
    requireMethod(request, ['GET']);
    return Response.json({ value: kind.list(path.resourceGroup) });
  }
  if (path.resourceGroup === undefined) throw noSuchType(path);
  const ref = { resourceGroup: path.resourceGroup, name };
  if (action === undefined) return serveResource(kind, request, ref);

  if (sameText(type, 'virtualMachines') && sameText(action, 'instanceView')) {
    requireMethod(request, ['GET']);
    return Response.json(instanceViewOf(context, ref));
  }
  const act = kind.actions[action.toLowerCase()];
  if (act === undefined) throw noSuchType(path);
  requireMethod(request, ['POST']);
  const body = await act(ref, await readJson(request, false));
  return body === undefined ? new Response(null, { status: 200 }) : Response.json(body);
}

async function serveResource(
  kind: ResourceKind,
  request: Request,
  ref: { resourceGroup: string; name: string },
): Promise<Response> {
  switch (request.method) {
    case 'GET':
      return Response.json(kind.get(ref, new URL(request.url).searchParams));
    case 'PUT': {
      const { created, resource } = await kind.put(ref, await readJson(request));
      return Response.json(resource, { status: created ? 201 : 200 });
    }
    case 'PATCH':
      return Response.json(await kind.patch(ref, await readJson(request)));
    case 'DELETE':
      return new Response(null, { status: (await kind.remove(ref)) ? 200 : 204 });
    default:
      throw methodNotAllowed(request, ['GET', 'PUT', 'PATCH', 'DELETE']);
  }
}

/** Somebody deleted a container behind the emulator's back. Retrying, to which a 5xx would invite, cannot help. */
function bytesMissing(error: unknown): ArmError | undefined {
  if (!(error instanceof RestError) || error.statusCode !== 404) return undefined;
  return new ArmError(
    409,
    'DiskBlobNotFound',
    `The bytes behind this resource are missing from storage (${error.code ?? 'not found'}). Delete the resource.`,
  );
}

/** `…/locations/{location}/{type}`: the resources of the subscription that lie there. */
function listAt(kinds: Record<string, ResourceKind>, location: string, type: string, request: Request): Response {
  const kind = kinds[type.toLowerCase()];
  if (kind === undefined) throw noType(`locations/${type}`);
  requireMethod(request, ['GET']);
  const all = kind.list(undefined) as { location: string }[];
  return Response.json({ value: all.filter((resource) => sameText(resource.location, location)) });
}

function noSuchType(path: ArmPath): ArmError {
  return noType(path.resource.filter((_, index) => index % 2 === 0).join('/'));
}

function noType(type: string): ArmError {
  return new ArmError(
    404,
    'InvalidResourceType',
    `The resource type '${type}' could not be found in the namespace 'Microsoft.Compute'. ` +
      'The local platform has virtualMachines, disks and snapshots.',
  );
}
