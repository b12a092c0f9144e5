import type { OperationRow } from '../catalog/operation-row.ts';
import { BackupError, ERROR_TABLE, type ErrorCode } from '../domain/errors.ts';
import type { JobId } from '../domain/ids.ts';
import { readJob } from '../services/jobs.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { vaultId } from './ids.ts';
import type { Call } from './route.ts';
import { type FoundVault, theVault, type VaultCall } from './vaults.ts';
import { iso } from './times.ts';

/*
 * Asynchronous operations. What an operation does is done when it is answered, unless its row says otherwise: the job exists, and goes
 * on by itself. So an operation that can be found has succeeded, and tells the job. The same id is known below the item and below the vault,
 * because clients cut it from a header and ask at the vault.
 */

/** Clients may come back at once: the operation has ended. */
export const RETRY_AFTER_SECONDS = '1';

/**
 * Notes an operation and answers 202 without a body. `resource` is the path below the vault at which its status is asked for.
 */
export async function accepted(
  call: VaultCall,
  vault: FoundVault,
  resource: string,
  jobId?: JobId,
): Promise<ArmAnswer> {
  const operation = call.ports.ids.guid();
  const row: OperationRow = { startedAt: call.ports.clock.now(), resource: resource.toLowerCase() };
  await call.ports.catalog.operations.insert(vault.key, operation, jobId === undefined ? row : { ...row, jobId });
  const base = `${vaultId(vault.address)}/${resource}`;
  return {
    status: 202,
    headers: {
      'Azure-AsyncOperation': call.link(`${base}/operationsStatus/${operation}`),
      Location: call.link(`${base}/operationResults/${operation}`),
      'Retry-After': RETRY_AFTER_SECONDS,
    },
  };
}

type OperationCall = Call<'subscription' | 'group' | 'vault' | 'operation'>;

/** @throws BackupError OperationNotFound, also when the operation was not one on `resource` */
export async function theOperation(call: OperationCall, vault: FoundVault, resource?: string): Promise<OperationRow> {
  const found = await call.ports.catalog.operations.get(vault.key, call.params.operation.toLowerCase());
  if (found !== undefined && (resource === undefined || found.row.resource === resource.toLowerCase()))
    return found.row;
  throw new BackupError('OperationNotFound', `there is no operation ${call.params.operation} here`, {
    target: 'operation',
  });
}

/** The service's OperationStatus. Its id is told as it was given out, however the caller has spelled it. */
export function statusAnswer(asked: string, row: OperationRow): ArmAnswer {
  const operation = asked.toLowerCase();
  const { status = 'Succeeded', startedAt, endedAt = startedAt, error } = row;
  const answer = ok({
    id: operation,
    name: operation,
    status,
    startTime: iso(startedAt),
    ...(status === 'InProgress' ? {} : { endTime: iso(endedAt) }),
    ...(error === undefined ? {} : { error }),
    ...(row.jobId === undefined
      ? {}
      : { properties: { objectType: 'OperationStatusJobExtendedInfo', jobId: row.jobId } }),
    ...(row.kind === 'validate' && {
      properties: { objectType: 'OperationStatusValidateOperationExtendedInfo', ...row.result },
    }),
  });
  return status === 'InProgress' ? { ...answer, headers: { 'Retry-After': RETRY_AFTER_SECONDS } } : answer;
}

export async function getVaultOperation(call: OperationCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  return statusAnswer(call.params.operation, await theOperation(call, vault));
}

export async function getVaultOperationResult(call: OperationCall): Promise<ArmAnswer> {
  return resultAnswer(call, await theOperation(call, await theVault(call)), async () => noContent);
}

/** What came of an operation: 202 while it goes on, what it failed with, else what `done` answers. */
export async function resultAnswer(
  call: OperationCall,
  { status = 'Succeeded', error, resource }: OperationRow,
  done: () => Promise<ArmAnswer>,
): Promise<ArmAnswer> {
  if (status === 'Succeeded') return done();
  if (status === 'InProgress') {
    const { subscription, group, vault, operation } = call.params;
    const path = `${vaultId({ subscriptionId: subscription, resourceGroup: group, vault })}/${resource}/operationResults/${operation}`;
    return { status: 202, headers: { Location: call.link(path), 'Retry-After': RETRY_AFTER_SECONDS } };
  }
  const code = status === 'Canceled' ? 'UserErrorJobSuccessfullyCancelled' : error?.code;
  const message = error?.message ?? `operation ${call.params.operation} ended as ${status}`;
  // A row holds codes of our own table; one of a version that had others is a fault of ours.
  throw new BackupError(code !== undefined && code in ERROR_TABLE ? (code as ErrorCode) : 'InternalError', message);
}

const CHANGES_OF_ITEMS: readonly string[] = ['ConfigureBackup', 'DisableBackup', 'DeleteBackupData', 'Undelete'];

/** Whether an operation changed an item itself, so that the item is its result. */
export async function changedItem(call: OperationCall, vault: FoundVault, row: OperationRow): Promise<boolean> {
  if (row.jobId === undefined) return false;
  const job = await readJob(call.ports, { vault: vault.key, jobId: row.jobId as JobId });
  return job !== undefined && CHANGES_OF_ITEMS.includes(job.operation);
}
