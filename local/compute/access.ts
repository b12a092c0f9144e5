import { randomUUID } from 'node:crypto';
import { generateBlobSASQueryParameters, type SignedIdentifier } from '@azure/storage-blob';
import * as z from 'zod';
import { ArmError, invalidParameter, notAllowed } from '../arm/errors.ts';
import type { ComputeContext } from './context.ts';
import { activeAccess, type Access, type DiskRecord, type SnapshotRecord } from './store.ts';

/**
 * SAS to the bytes of managed disks and snapshots.
 *
 * A SAS here says nothing of its own: it names a stored access policy of the disk's container, and the policy has the
 * permissions and the end. So endGetAccess revokes it at once by taking the policy away, and asking again while access is
 * open answers the same SAS with its end moved. Times are the system's, by which storage judges, not the platform's clock.
 */

const requestSchema = z.object({
  access: z.enum(['Read', 'Write'], "must be 'Read' or 'Write'"),
  durationInSeconds: z.int('must be a whole number of seconds').positive('must be more than 0').max(4_294_967_295),
  fileFormat: z.literal('VHD', "must be 'VHD': disks here are fixed VHDs").optional(),
});

export type AccessRequest = z.infer<typeof requestSchema>;

/** @throws ArmError InvalidParameter */
export function parseAccessRequest(body: unknown): AccessRequest {
  const result = requestSchema.safeParse(body);
  if (result.success) return result.data;
  const complaints = result.error.issues.map((issue) => `'${issue.path.join('.') || 'body'}' ${issue.message}`);
  throw invalidParameter(`The access request is invalid: ${complaints.join('; ')}.`);
}

/** Snapshots of one family on which access may be open at a time (the service's limit for incremental snapshots). */
const FAMILY_ACCESS_LIMIT = 5;

/** @throws ArmError when one more open access would be more than its incremental family may have. */
export function checkFamilyLimit(context: ComputeContext, snapshot: SnapshotRecord): void {
  if (snapshot.snapshotFamilyId === undefined) return;
  const open = Object.values(context.state.value.snapshots).filter(
    (other) =>
      other.snapshotFamilyId === snapshot.snapshotFamilyId &&
      other.id !== snapshot.id &&
      activeAccess(other) !== undefined,
  );
  if (open.length < FAMILY_ACCESS_LIMIT) return;
  throw notAllowed(
    `Access to snapshot '${snapshot.name}' cannot be granted: ${open.length} snapshots of incremental snapshot family ` +
      `'${snapshot.snapshotFamilyId}' have an active shared access signature (${open.map(({ name }) => name).join(', ')}), ` +
      `and at most ${FAMILY_ACCESS_LIMIT} may. Call EndGetAccess on one of them first.`,
  );
}

/** The grant that answers a request: the open one with its end moved out, or a new one. */
export function grantFor(record: DiskRecord | SnapshotRecord, request: AccessRequest): Access {
  const expiresAtMs = Date.now() + request.durationInSeconds * 1000;
  const open = activeAccess(record);
  if (open === undefined) return { id: randomUUID(), level: request.access, expiresAtMs };
  if (open.level !== request.access) {
    throw new ArmError(
      409,
      'OperationNotAllowed',
      `'${record.name}' has an active shared access signature for ${open.level}. ` +
        `Call EndGetAccess before asking for ${request.access}.`,
    );
  }
  return { ...open, expiresAtMs: Math.max(open.expiresAtMs, expiresAtMs) };
}

/**
 * Makes storage's policies of a disk's container those of the open grants on the disk and its snapshots. With `change`
 * the record of that id counts as having that grant, so that storage can follow before the state is written.
 */
export async function applyPolicies(
  context: ComputeContext,
  container: { account: string; container: string },
  change: { id: string; access: Access | undefined },
): Promise<void> {
  const { disks, snapshots } = context.state.value;
  const policies: SignedIdentifier[] = [];
  for (const record of [...Object.values(disks), ...Object.values(snapshots)]) {
    if (record.backing.account !== container.account || record.backing.container !== container.container) continue;
    const access = record.id === change.id ? change.access : activeAccess(record);
    if (access === undefined) continue;
    policies.push({
      id: access.id,
      accessPolicy: { expiresOn: new Date(access.expiresAtMs), permissions: access.level === 'Read' ? 'r' : 'rw' },
    });
  }
  await context.accounts.container(container.account, container.container).setAccessPolicy(undefined, policies);
}

/** The URL that carries the grant. A snapshot's has its `snapshot` time and opens that snapshot alone. */
export function accessUrl(context: ComputeContext, record: DiskRecord | SnapshotRecord, access: Access): string {
  const { account, container, blob } = record.backing;
  const snapshot = 'snapshot' in record.backing ? record.backing.snapshot : undefined;
  const sas = generateBlobSASQueryParameters(
    {
      containerName: container,
      blobName: blob,
      identifier: access.id,
      ...(snapshot === undefined ? {} : { snapshotTime: snapshot }),
    },
    context.accounts.credential(account),
  );
  const url = new URL(context.accounts.blob(record.backing).url);
  return `${url.origin}${url.pathname}?${snapshot === undefined ? '' : `snapshot=${encodeURIComponent(snapshot)}&`}${sas.toString()}`;
}
