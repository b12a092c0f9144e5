import type { AlertKind } from '../catalog/alert-row.ts';
import type { ItemRow, PolicyRow } from '../catalog/catalog.ts';
import { lastDue } from '../domain/policy.ts';
import { eachOpenFinding } from './findings.ts';
import { pointsPartition, vaultKey } from './keys.ts';
import type { Ports } from './ports.ts';

/** Something that people should know of, as it is now. */
export interface Concern {
  readonly vault: string;
  readonly kind: AlertKind;
  readonly subject: string;
  readonly message: string;
}

const HOUR_MS = 3_600_000;
/** Backups are begun every half hour; one that has not been for so long has met something. */
const LATE_MS = 2 * HOUR_MS;
/** A daily backup, and two hours for it to begin. */
const RECENT_MS = 26 * HOUR_MS;

/** Looks at every protected item of every vault. An outage is thrown: then nobody knows, and nothing is over. */
export async function* concerns(ports: Ports): AsyncGenerator<Concern> {
  for await (const { row: own } of ports.catalog.vaults.listAll()) {
    const vault = vaultKey({ ...own, vault: own.name });
    const policies = new Map<string, PolicyRow>();
    for await (const { key, row } of ports.catalog.policies.list(vault)) policies.set(key, row);
    for await (const { key: subject, row: item } of ports.catalog.items.list(vault)) {
      const points = pointsPartition(own.containerName, item.itemId);
      const at = { vault, subject };
      if (item.lastBackupStatus === 'Failed')
        yield {
          ...at,
          kind: 'backupFailed',
          message: `the last backup of ${item.vmName} has failed: its job says why`,
        };
      const late = lateness(item, policies.get(item.policyName.toLowerCase()), ports.clock.now());
      if (late !== undefined) yield { ...at, kind: 'backupLate', message: late };
      if (await lacksRecentPoint(ports, item, points))
        yield {
          ...at,
          kind: 'noRecentPoint',
          message: `${item.vmName} has no recovery point of the last ${RECENT_MS / HOUR_MS} hours`,
        };
      for await (const { row } of eachOpenFinding(ports, points)) {
        const message = `verification has found damage of ${item.vmName}: ${row.code}: ${row.message}`;
        yield { ...at, kind: 'damageFound', message };
        break;
      }
    }
  }
}

const isProtected = (item: ItemRow): boolean => item.protectionState !== 'ProtectionStopped' && item.policyName !== '';

/** What is wrong when a scheduled time has passed long ago and no backup has begun for it. */
function lateness(item: ItemRow, policy: PolicyRow | undefined, now: number): string | undefined {
  if (policy === undefined || !isProtected(item)) return undefined;
  // Not the latest one: a backup that is late stays so when the next is due.
  const dueAt = lastDue(policy.rules, now - LATE_MS);
  if (dueAt <= Math.max(item.scheduledUntil, policy.scheduleFrom)) return undefined;
  return `the backup of ${item.vmName} that was due at ${new Date(dueAt).toISOString()} has not begun`;
}

/** Point ids are times in tenths of a microsecond, so that the key tells which points are recent. */
async function lacksRecentPoint(ports: Ports, item: ItemRow, partition: string): Promise<boolean> {
  const since = ports.clock.now() - RECENT_MS;
  if (!isProtected(item) || item.protectedAt > since) return false;
  const from = (BigInt(Math.trunc(since)) * 10_000n).toString().padStart(17, '0');
  for await (const { row } of ports.catalog.points.listColumns(partition, ['instant', 'vault'], { from }))
    if (row.instant === 'Valid' || row.vault === 'Valid') return false;
  return true;
}
