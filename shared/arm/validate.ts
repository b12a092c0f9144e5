import { parseVirtualMachineId } from '../compute/vm-id.ts';
import { BackupError } from '../domain/errors.ts';
import { adviceFor } from '../services/advice.ts';
import { pointsPartition } from '../services/keys.ts';
import { readPoints } from '../services/projection.ts';
import { restoreFaults } from '../services/restore.ts';
import { type ArmAnswer, ok } from './http.ts';
import { vaultId } from './ids.ts';
import { keyOf, parseItemNames } from './names.ts';
import { resultAnswer, RETRY_AFTER_SECONDS, statusAnswer, theOperation } from './operations.ts';
import { isVisible } from '../services/point-list.ts';
import { restoreProblems, restoreRequest } from './restore-request.ts';
import type { Call } from './route.ts';
import type { ValidateBody } from './schemas/validate.ts';
import { type FoundVault, theVault, type VaultCall } from './vaults.ts';

/*
 * Restores validated without being done: by the very checks that starting one puts, of which starting tells the first that fails and this all.
 */

/** Results are kept in a row, whose properties have an end; what a client sent may be longer. */
const MOST_MESSAGE_CHARS = 1000;

interface Response {
  readonly validationResults: readonly { code: string; message: string; recommendations: string[] }[];
}

/** The faults of a restore; none: it could start now. */
async function validate(call: VaultCall<unknown, ValidateBody>, vault: FoundVault): Promise<Response> {
  const faults = await faultsOf(call, vault);
  return {
    validationResults: faults.map(({ code, message }) => ({
      code,
      message: message.slice(0, MOST_MESSAGE_CHARS),
      recommendations: adviceFor(code),
    })),
  };
}

async function faultsOf(
  { ports, body: { id, restore } }: VaultCall<unknown, ValidateBody>,
  vault: FoundVault,
): Promise<readonly BackupError[]> {
  const key = itemKeyOf(id, restore.sourceResourceId);
  if (key === undefined) {
    const message = 'the request names no item: expected the id of its recovery point, or properties.sourceResourceId';
    return [new BackupError('UserErrorInvalidRestoreRequest', message, { target: 'id' })];
  }
  const item = await ports.catalog.items.get(vault.key, key);
  if (item === undefined)
    return [new BackupError('ResourceNotFound', `vault ${vault.row.name} does not protect ${key}`)];
  const name = /\/recoveryPoints\/([^/]+)\/?$/i.exec(id ?? '')?.[1] ?? restore.recoveryPointId;
  const partition = pointsPartition(vault.row.containerName, item.row.itemId);
  const point = (await readPoints(ports, partition)).find((row) => row.point === name && isVisible(row));
  const asked = restoreProblems(restore, { vault, row: item.row }, name);
  if (point === undefined) {
    const missing = new BackupError('ResourceNotFound', `${item.row.vmName} has no recovery point ${name ?? ''}`);
    return [missing, ...asked];
  }
  const found = await restoreFaults(ports, partition, item.row, point, restoreRequest(restore));
  const named = new Set(asked.map(({ target }) => target));
  return [...asked, ...found.filter(({ target }) => target === undefined || !named.has(target))];
}

/** The item that a recovery point's id names, else the VM that is to be restored. Undefined: neither says. */
function itemKeyOf(id: string | undefined, sourceResourceId: string | undefined): string | undefined {
  const [, container, item] = /\/protectionContainers\/([^/]+)\/protectedItems\/([^/]+)/i.exec(id ?? '') ?? [];
  try {
    if (container !== undefined && item !== undefined) return keyOf(parseItemNames(container, item));
    if (sourceResourceId === undefined) return undefined;
    const { resourceGroup, name: vmName } = parseVirtualMachineId(sourceResourceId);
    return keyOf({ resourceGroup, vmName });
  } catch {
    return undefined;
  }
}

export async function validateOperation(call: VaultCall<unknown, ValidateBody>): Promise<ArmAnswer> {
  return ok({ validateOperationResponse: await validate(call, await theVault(call)) });
}

/** The same as an operation of its own: it has ended when it is answered. */
export async function triggerValidateOperation(call: VaultCall<unknown, ValidateBody>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const operation = call.ports.ids.guid();
  const result = { validateOperationResponse: await validate(call, vault) };
  await call.ports.catalog.operations.insert(vault.key, operation, {
    startedAt: call.ports.clock.now(),
    kind: 'validate',
    resource: RESOURCE,
    result,
  });
  const base = vaultId(vault.address);
  return {
    status: 202,
    headers: {
      'Azure-AsyncOperation': call.link(`${base}/backupValidateOperationsStatuses/${operation}`),
      Location: call.link(`${base}/backupValidateOperationResults/${operation}`),
      'Retry-After': RETRY_AFTER_SECONDS,
    },
  };
}

const RESOURCE = 'backupvalidateoperation';

type OperationCall = Call<'subscription' | 'group' | 'vault' | 'operation'>;

export async function getValidateStatus(call: OperationCall): Promise<ArmAnswer> {
  return statusAnswer(call.params.operation, await theOperation(call, await theVault(call), RESOURCE));
}

export async function getValidateResult(call: OperationCall): Promise<ArmAnswer> {
  const row = await theOperation(call, await theVault(call), RESOURCE);
  return resultAnswer(call, row, async () => ok(row.result));
}
