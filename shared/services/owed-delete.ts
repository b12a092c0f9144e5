import { isBackupError } from '../domain/errors.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Ports } from './ports.ts';

/**
 * Deletes an object that nothing names any more. Where a policy of the storage forbids that so far the delete is owed, and whoever asked for
 * it goes on: the sweep finds the object without a name, lists it, and tries until the policy lets it. Absent is fine.
 */
export async function deleteOrOwe(ports: Pick<Ports, 'log'>, container: VaultContainer, name: string): Promise<void> {
  try {
    await container.delete(name);
  } catch (error) {
    if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
    ports.log(`the delete of ${name} is owed: ${error.message}`);
  }
}
