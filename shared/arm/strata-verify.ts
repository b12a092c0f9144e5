import type { ItemRow } from '../catalog/catalog.ts';
import type { FindingRow } from '../catalog/finding-row.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { JobId } from '../domain/ids.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import { readItem } from '../services/vault-of.ts';
import { pointsPartition } from '../services/keys.ts';
import { type VerifyRequest, checkVerify, startVerify } from '../services/verify.ts';
import { type ArmAnswer, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { page, type Sorted } from './paging.ts';
import type { FindingsQuery, VerifyBody } from './schemas/strata.ts';
import { acceptedJob, jobPath } from './strata-jobs.ts';
import { type FoundVault, listLink, theVault, type VaultCall } from './vaults.ts';
import { iso } from './times.ts';

/**
 * Starts the verification of one item or of all: 202 with the jobs in the body, one for each item. Where it is one job alone the headers
 * tell how it goes, too. Of several items those that are being verified already answer with the job that does. Where one cannot be
 * verified as asked for, none is.
 */
export async function verifyCall(call: VaultCall<unknown, VerifyBody>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { item, ...request } = call.body;
  const chosen = await itemsNamed(call, vault, item);
  // What is refused for one of them is refused before any has been started.
  for (const { key } of chosen) await checkVerify(call.ports, vault.key, key, request);
  const jobs: { id: string; name: JobId; virtualMachine: string }[] = [];
  for (const { key, row } of chosen) {
    const job = await start(call, vault, key, request, item === undefined);
    if (job !== undefined) jobs.push({ id: jobPath(vault.address, job), name: job, virtualMachine: row.vmName });
  }
  const [only] = jobs;
  const headers = jobs.length === 1 ? acceptedJob(call, vault.address, only!.name).headers : undefined;
  return { status: 202, ...(headers === undefined ? {} : { headers }), body: { value: jobs } };
}

async function start(
  call: VaultCall,
  vault: FoundVault,
  key: string,
  request: VerifyRequest,
  isOneOfMany: boolean,
): Promise<JobId | undefined> {
  try {
    return await startVerify(call.ports, vault.key, key, request, true);
  } catch (error) {
    if (!isOneOfMany || !isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
    return (await readItem(call.ports, vault.key, key)).row.verifyJob;
  }
}

/** The items of that VM name (or `<resource group>/<VM name>`), compared without case; all without a name. */
async function itemsNamed(
  call: VaultCall,
  vault: FoundVault,
  named: string | undefined,
): Promise<{ key: string; row: ItemRow }[]> {
  const found: { key: string; row: ItemRow }[] = [];
  const wanted = named?.toLowerCase();
  for await (const { key, row } of call.ports.catalog.items.list(vault.key)) {
    const name = row.vmName.toLowerCase();
    if (wanted === undefined || wanted === name || wanted === `${row.resourceGroup.toLowerCase()}/${name}`)
      found.push({ key, row });
  }
  if (named === undefined || found.length === 1) return found;
  if (found.length === 0)
    throw new BackupError('ResourceNotFound', `vault ${vault.row.name} protects no VM ${named}`, { target: 'item' });
  const names = found.map(({ row }) => `${row.resourceGroup}/${row.vmName}`).join(', ');
  throw new BackupError('InvalidRequest', `item ${named} is more than one VM: expected one of ${names}`, {
    target: 'item',
  });
}

/** What is known to be wrong in the vault: open findings unless the filter asks for `state eq 'healed'` or `'all'`. */
export async function listFindings(call: VaultCall<FindingsQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { state = 'open', item: named } = call.query.$filter;
  const entries: Sorted<Record<string, unknown>>[] = [];
  for (const { row: item } of await itemsNamed(call, vault, named)) {
    const partition = pointsPartition(vault.row.containerName, item.itemId);
    for await (const { key, row } of call.ports.catalog.findings.list(partition)) {
      if (state !== 'all' && (row.healedAt === undefined) !== (state === 'open')) continue;
      const name = `${item.itemId}.${key.replaceAll('|', '.')}`;
      const regionBytes = call.ports.settings.geometry.regionBytes;
      entries.push({ sortKey: name, entry: findingView(vault, item, name, row, regionBytes) });
    }
  }
  return ok(page(entries, call.query, (token) => listLink(call, vault, 'strata/findings', token)));
}

function findingView(
  vault: FoundVault,
  item: ItemRow,
  name: string,
  row: FindingRow,
  regionBytes: number,
): Record<string, unknown> {
  return {
    id: `${vaultId(vault.address)}/strata/findings/${name}`,
    name,
    type: `${VAULT_TYPE}/strata/findings`,
    properties: {
      virtualMachine: item.vmName,
      kind: row.kind,
      object: row.object,
      code: row.code,
      message: row.message,
      ...(row.disk === undefined ? {} : { disk: { id: row.disk, lun: row.lun, name: row.name } }),
      ...(row.region === undefined
        ? {}
        : { region: { number: row.region, startByte: row.region * regionBytes, blockBytes: BLOCK_BYTES } }),
      blocks: row.runs,
      blocksLeftOut: row.blocksLeftOut,
      recoveryPoints: row.points,
      recoveryPointsLeftOut: row.pointsLeftOut,
      newestPointIsSound: row.newestIsSound,
      foundTime: iso(row.foundAt),
      seenTime: iso(row.seenAt),
      ...(row.healedAt === undefined ? {} : { healedTime: iso(row.healedAt) }),
    },
  };
}
