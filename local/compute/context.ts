import type { JsonFile } from '../arm/json-file.ts';
import type { ResourceGroups } from '../arm/resource-groups.ts';
import { invalidParameter, resourceNotFound } from '../arm/errors.ts';
import type { BlobAccounts } from './blob-accounts.ts';
import type { ComputeState } from './store.ts';

/** What the resource kinds share. */
export interface ComputeContext {
  subscriptionId: string;
  /** The platform's clock, milliseconds since 1970. Times of resources come from it, but those of snapshots and SAS never. */
  now: () => number;
  state: JsonFile<ComputeState>;
  groups: ResourceGroups;
  accounts: BlobAccounts;
  /** Whether storage's own copy of a page blob may be trusted: then it makes the bytes of Import and Copy at once. */
  serverCopies: boolean;
  /** Runs one change of the state at a time, in the order of asking. */
  exclusive: <T>(work: () => Promise<T>) => Promise<T>;
}

/** A resource as a path names it; neither part need be in canonical case. */
export interface ResourceRef {
  resourceGroup: string;
  name: string;
}

/** One type of resource, as the router drives it. */
export interface ResourceKind {
  list(resourceGroup: string | undefined): object[];
  /** @throws ArmError ResourceNotFound */
  get(ref: ResourceRef, query: URLSearchParams): object;
  put(ref: ResourceRef, body: unknown): Promise<{ created: boolean; resource: object }>;
  patch(ref: ResourceRef, body: unknown): Promise<object>;
  /** Resolves false when there was none. */
  remove(ref: ResourceRef): Promise<boolean>;
  /** What can be done with POST, in lower case; resolves the response's body, if it has one. */
  actions: Readonly<Record<string, (ref: ResourceRef, body: unknown) => Promise<object | undefined>>>;
}

/** A queue of one: `exclusive` starts each work when the one before has settled. */
export function createExclusive(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work, work);
    last = result.catch(() => undefined);
    return result;
  };
}

/** The canonical id: keywords as Azure writes them, the group as first used, the name as given. */
export function resourceId(context: ComputeContext, type: string, ref: ResourceRef): string {
  const group = context.groups.find(ref.resourceGroup)?.name ?? ref.resourceGroup;
  return `/subscriptions/${context.subscriptionId}/resourceGroups/${group}/providers/${type}/${ref.name}`;
}

/** The key under which the state holds a resource. */
export function resourceKey(context: ComputeContext, type: string, ref: ResourceRef): string {
  return resourceId(context, type, ref).toLowerCase();
}

/** The resources of one type that the state holds. */
export interface Kept<T> {
  readonly find: (ref: ResourceRef) => T | undefined;
  /** @throws ArmError ResourceNotFound */
  readonly require: (ref: ResourceRef) => T;
  /** Puts it in the place of what has its id. */
  readonly save: (resource: T) => T;
}

/** Those in the map that `of` picks. */
export function kept<T extends { readonly id: string }>(
  context: ComputeContext,
  type: string,
  of: (state: ComputeState) => Record<string, T>,
): Kept<T> {
  const find = (ref: ResourceRef): T | undefined => of(context.state.value)[resourceKey(context, type, ref)];
  return {
    find,
    require(ref) {
      const resource = find(ref);
      if (resource === undefined) throw resourceNotFound(type, ref.name, ref.resourceGroup);
      return resource;
    },
    save(resource) {
      context.state.update((draft) => {
        of(draft)[resource.id.toLowerCase()] = resource;
      });
      return resource;
    },
  };
}

/** @throws ArmError unless the name is one that Azure takes for the type. `longest` counts characters. */
export function checkName(what: string, name: string, longest: number): void {
  if (name.length > longest || !/^[a-z0-9]([a-z0-9_.-]*[a-z0-9_])?$/i.test(name)) {
    throw invalidParameter(
      `The entity name '${name}' is invalid for a ${what}: 1 to ${longest} letters, digits, '-', '_' or '.', ` +
        `beginning with a letter or digit and not ending with '-' or '.'.`,
    );
  }
}
