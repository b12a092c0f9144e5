import type { PolicyRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { lastDue } from '../domain/policy.ts';
import { startBackup } from './backup.ts';
import { vaultKey } from './keys.ts';
import { readPolicy } from './policies.ts';
import type { Ports } from './ports.ts';

/**
 * Starts a backup of every item for which one is due: the latest scheduled time up to now has not been served yet. What is due is
 * compared with what was done, so a missed tick, a restart or a step of the clock neither skips nor doubles a backup, and after
 * a long pause one is taken, not one for each that was missed. Where an earlier backup still transfers the new one waits for it; where
 * one is taking its snapshots the item is left for a later tick.
 */
export async function takeDue(ports: Ports): Promise<number> {
  const now = ports.clock.now();
  let started = 0;
  for await (const { row: vaultRow } of ports.catalog.vaults.listAll()) {
    const vault = vaultKey({ ...vaultRow, vault: vaultRow.name });
    // One look at each policy, not one for each of its items.
    const policies = new Map<string, Promise<PolicyRow>>();
    for await (const { key, row: item } of ports.catalog.items.list(vault)) {
      if (item.protectionState === 'ProtectionStopped' || item.policyName === '') continue;
      try {
        const name = item.policyName.toLowerCase();
        const known = policies.get(name) ?? readPolicy(ports, vault, name);
        policies.set(name, known);
        const policy = await known;
        const dueAt = lastDue(policy.rules, now);
        if (dueAt <= Math.max(item.scheduledUntil, policy.scheduleFrom)) continue;
        await startBackup(ports, vault, key, { kind: 'scheduled', dueAt });
        started++;
      } catch (error) {
        if (!isBackupError(error)) throw error;
        ports.log(`scheduled backup of ${item.vmName} was not started: ${error.message}`);
      }
    }
  }
  return started;
}
