/**
 * The calls to Compute that managed disks need, in the project's own errors. A SAS that Compute answers goes to the caller and
 * nowhere else: no message and no cause has one.
 */
import { ComputeManagementClient, type Disk, type Snapshot } from '@azure/arm-compute';
import type { TokenCredential } from '@azure/identity';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type CallPace, pacedCalls } from '../azure/compute-calls.ts';
import type { ManagedResource } from './managed-ids.ts';
import { answerOf, isPassing, storageFailure, type StorageFailure } from '../azure/storage-failures.ts';

export interface ManagedAccess {
  /** Where ARM answers, such as `https://management.azure.com`; https, since a token goes with every call. */
  readonly endpoint: string;
  readonly credential: TokenCredential;
  /** A call with all its tries is given up after this. Default 120,000 ms: Compute works on some for many seconds. */
  readonly deadlineMs?: number;
  /** Tries after the first of a call that failed in passing. Default 4. */
  readonly retries?: number;
  /** Holds calls back while Compute refuses them. */
  readonly calls?: CallPace;
}

/** What a failed call means; undefined: what its kind says. */
type Meaning = (failure: StorageFailure, cause: unknown) => BackupError | undefined;

export interface ManagedClient {
  /** Undefined when there is none. */
  disk(at: ManagedResource): Promise<Disk | undefined>;
  snapshot(at: ManagedResource): Promise<Snapshot | undefined>;
  /**
   * All snapshots of a subscription; where Strata may not list those, the snapshots of one resource group, none when there is no such
   * group.
   */
  snapshotsIn(subscriptionId: string, resourceGroup: string): AsyncIterable<Snapshot>;
  takeSnapshot(at: ManagedResource, snapshot: Snapshot, meaning: Meaning): Promise<Snapshot>;
  /** Deleting what is absent succeeds. */
  deleteSnapshot(at: ManagedResource, meaning: Meaning): Promise<void>;
  createDisk(at: ManagedResource, disk: Disk, meaning: Meaning): Promise<void>;
  /** Puts `tags` in the place of the disk's. */
  tagDisk(at: ManagedResource, tags: Readonly<Record<string, string>>, meaning: Meaning): Promise<void>;
  deleteDisk(at: ManagedResource, meaning: Meaning): Promise<void>;
  /** A URL that opens the resource's bytes for so many seconds from the asking on, by the storage's time. */
  grant(
    type: 'disk' | 'snapshot',
    at: ManagedResource,
    access: 'Read' | 'Write',
    durationInSeconds: number,
    meaning: Meaning,
  ): Promise<string>;
  /**
   * Ends all access that was granted, to whomever. Of what is absent, or was never granted, it succeeds; and of an upload that is
   * no whole VHD, which Compute complains about when the access has ended.
   */
  revoke(type: 'disk' | 'snapshot', at: ManagedResource): Promise<void>;
}

/** Between two looks at an operation that Compute works on. */
const POLL = { updateIntervalInMs: 500 };

export function managedClient({
  endpoint,
  credential,
  deadlineMs = 120_000,
  retries = 4,
  calls,
}: ManagedAccess): ManagedClient {
  const clients = new Map<string, ComputeManagementClient>();
  const retryOptions = { maxRetries: retries, retryDelayInMs: 200, maxRetryDelayInMs: 5_000 };
  const of = ({ subscriptionId }: { subscriptionId: string }): ComputeManagementClient => {
    const known = clients.get(subscriptionId);
    if (known !== undefined) return known;
    const made = new ComputeManagementClient(credential, subscriptionId, {
      endpoint,
      retryOptions,
      ...pacedCalls(calls),
    });
    clients.set(subscriptionId, made);
    return made;
  };
  const options = () => ({ ...POLL, abortSignal: AbortSignal.timeout(deadlineMs) });
  const called = <T>(what: string, request: () => Promise<T>, meaning: Meaning = () => undefined): Promise<T> =>
    compute(what, request, meaning);
  const orAbsent = async <T>(request: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await request();
    } catch (error) {
      if (isAbsent(storageFailure(error))) return undefined;
      throw error;
    }
  };

  return {
    disk: (at) =>
      called(`look at disk ${at.name}`, () =>
        orAbsent(() => of(at).disks.get(at.resourceGroup, at.name, { abortSignal: AbortSignal.timeout(deadlineMs) })),
      ),
    snapshot: (at) =>
      called(`look at snapshot ${at.name}`, () =>
        orAbsent(() =>
          of(at).snapshots.get(at.resourceGroup, at.name, { abortSignal: AbortSignal.timeout(deadlineMs) }),
        ),
      ),
    async *snapshotsIn(subscriptionId, resourceGroup) {
      const { snapshots } = of({ subscriptionId });
      const listed = async function* (what: string, pages: AsyncIterator<Snapshot[]>): AsyncGenerator<Snapshot> {
        for (;;) {
          const next = await called(`list the snapshots of ${what}`, () => orAbsent(() => pages.next()));
          if (next === undefined || next.done === true) return;
          yield* next.value;
        }
      };
      try {
        yield* listed(`subscription ${subscriptionId}`, snapshots.list().byPage());
      } catch (error) {
        // The answer to the first page: nothing has been told yet.
        if (!isBackupError(error, 'AuthorizationFailed')) throw error;
        yield* listed(`resource group ${resourceGroup}`, snapshots.listByResourceGroup(resourceGroup).byPage());
      }
    },
    takeSnapshot: (at, snapshot, meaning) =>
      called(
        `take snapshot ${at.name}`,
        () => of(at).snapshots.beginCreateOrUpdateAndWait(at.resourceGroup, at.name, snapshot, options()),
        meaning,
      ),
    deleteSnapshot: (at, meaning) =>
      called(
        `delete snapshot ${at.name}`,
        () => orAbsent(() => of(at).snapshots.beginDeleteAndWait(at.resourceGroup, at.name, options())),
        meaning,
      ),
    createDisk: async (at, disk, meaning) => {
      await called(
        `create disk ${at.name}`,
        () => of(at).disks.beginCreateOrUpdateAndWait(at.resourceGroup, at.name, disk, options()),
        meaning,
      );
    },
    tagDisk: async (at, tags, meaning) => {
      await called(
        `tag disk ${at.name}`,
        () => of(at).disks.beginUpdateAndWait(at.resourceGroup, at.name, { tags: { ...tags } }, options()),
        meaning,
      );
    },
    deleteDisk: (at, meaning) =>
      called(
        `delete disk ${at.name}`,
        () => orAbsent(() => of(at).disks.beginDeleteAndWait(at.resourceGroup, at.name, options())),
        meaning,
      ),
    grant: (type, at, access, durationInSeconds, meaning) =>
      called(
        `open ${type} ${at.name}`,
        async () => {
          const kind = type === 'disk' ? of(at).disks : of(at).snapshots;
          const asked = { access, durationInSeconds };
          const { accessSAS } = await kind.beginGrantAccessAndWait(at.resourceGroup, at.name, asked, options());
          if (accessSAS !== undefined && accessSAS !== '') return accessSAS;
          throw new BackupError('ComputeUnavailable', `Compute granted access to ${type} ${at.name}, but gave no URL`);
        },
        meaning,
      ),
    revoke: (type, at) =>
      called(`close ${type} ${at.name}`, async () => {
        const kind = type === 'disk' ? of(at).disks : of(at).snapshots;
        try {
          await orAbsent(() => kind.beginRevokeAccessAndWait(at.resourceGroup, at.name, options()));
        } catch (error) {
          if (storageFailure(error)?.code !== 'InvalidVhd') throw error;
        }
      }),
  };
}

/** A 404 without an ARM error code is no answer of ARM's, so no absence. */
export function isAbsent(failure: StorageFailure | undefined): boolean {
  return failure?.status === 404 && !failure.code.startsWith('HTTP ');
}

async function compute<T>(what: string, request: () => Promise<T>, meaning: Meaning): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const failure = storageFailure(error);
    if (failure === undefined) throw error;
    const said = error instanceof Error && !error.message.includes('sig=') ? `: ${error.message}` : '';
    const message = `could not ${what}: Compute answered ${answerOf(failure)}${said}`;
    const cause = withoutRequest(error);
    if (!isPassing(failure)) {
      const meant = meaning(failure, cause);
      if (meant !== undefined) throw meant;
      if (failure.status === 401 || failure.status === 403) {
        throw new BackupError('AuthorizationFailed', `${message}; Strata's identity needs the right to it`, { cause });
      }
    }
    // A 404 that is not ARM's own, or a conflict with an operation that Compute is still working on.
    const later = isPassing(failure) || failure.status === 404 || failure.status === 409;
    throw new BackupError(later ? 'ComputeUnavailable' : 'InternalError', message, { cause });
  }
}

/** What an SDK's error says, without the request and the answer that it carries: there a SAS may stand in a URL, header or body. */
export function withoutRequest(error: unknown): Error {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const failure = storageFailure(error);
  const bare = new Error(message.replaceAll(/([?&]sig=)[^&\s"']+/g, '$1…'));
  bare.name = name;
  if (stack !== undefined) bare.stack = stack.replaceAll(/([?&]sig=)[^&\s"']+/g, '$1…');
  return Object.assign(bare, failure?.status === undefined ? {} : { statusCode: failure.status }, {
    code: failure?.code,
  });
}
