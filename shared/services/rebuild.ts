import type { JobRow } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { ItemId, JobId } from '../domain/ids.ts';
import { decodeDocument } from '../format/document.ts';
import { type VaultDocument, vaultDocument } from '../format/documents.ts';
import { VAULT_NAME } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { adviceFor } from './advice.ts';
import { backOffSeconds } from './back-off.ts';
import { finishJob } from './end-job.ts';
import { ENDED, type JobAddress, changeJob, insertJob, newJob, readJob, runningRebuild } from './jobs.ts';
import { type VaultAddress, vaultKey } from './keys.ts';
import { forEachAtOnce, inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { readReport, report } from './reports.ts';
import { heldIn, itemsIn } from './vault-contents.ts';
import { openVault } from './vault-of.ts';
import { findVault, putBackVault } from './vaults.ts';

/*
 * The tables follow the container and can be built anew from it, when all of them are gone, or some rows, or none. A rebuild
 * finds the container that says that it is this vault's, puts the vault's row and its default policy back, and leaves a message for each
 * item: rebuild-item.ts. Policies other than the default one and the history of jobs stand in tables alone and do not come back.
 */

const READS_IN_FLIGHT = 8;
const SENDS_IN_FLIGHT = 8;
/** After so many looks, about ten minutes, items that have not been heard of get their messages again. */
const LOOKS_UNTIL_RESENT = 30;

export interface RebuildRequest {
  /** The vault's container, where several say that they are its. */
  readonly container?: string | undefined;
  /** Properties for a vault whose row is gone. */
  readonly properties: Record<string, unknown>;
}

/**
 * Starts the rebuild of a vault's tables, or finds the one that runs; resolves its job. An empty container that has given the vault's
 * place to another goes, so that it is not in the way of the next rebuild.
 * @throws BackupError ResourceNotFound when no container says that it is this vault's, RebuildAmbiguous when several do,
 * BMSUserErrorObjectLocked when a rebuild from another container runs
 */
export async function startRebuild(ports: Ports, address: VaultAddress, request: RebuildRequest): Promise<JobId> {
  const key = vaultKey(address);
  const running = await runningRebuild(ports, key);
  // One that runs while the vault's row is lost once more needs the row as well.
  const standing = running === undefined ? undefined : await findVault(ports, address);
  if (running !== undefined && standing !== undefined) {
    if (request.container === undefined || request.container === standing.containerName) return running;
    throw new BackupError(
      'BMSUserErrorObjectLocked',
      `job ${running} is rebuilding vault ${address.vault} from container ${standing.containerName}: container ${request.container} can be named when it has ended`,
      { target: 'container' },
    );
  }
  const { chosen, others } = await findContainer(ports, address, request.container);
  const { containerName, document } = chosen;
  await putBackVault(ports, {
    name: document.name,
    resourceGroup: document.resourceGroup,
    subscriptionId: document.subscriptionId,
    location: document.location,
    containerName,
    createdAt: Date.parse(document.createdAt),
    skuName: 'Standard',
    tags: {},
    properties: request.properties,
  });
  for (const other of others) await dropIfEmpty(ports, address, other.containerName);
  if (running !== undefined) return running;
  const job = newRebuild(ports);
  await insertJob(ports, key, job);
  await ports.queue.send({ step: 'rebuild-vault', v: 1, vault: key, jobId: job.jobId, round: 0 });
  return job.jobId;
}

/** A job of the whole vault: it has no item. */
function newRebuild(ports: Ports): JobRow {
  const none = { itemId: NO_ITEM as ItemId, vmName: '', resourceGroup: '' };
  return newJob(ports, none, NO_ITEM, { operation: 'Rebuild', userTriggered: true });
}

/** No item is called this. */
const NO_ITEM = '*';

interface FoundContainer {
  readonly containerName: string;
  readonly document: VaultDocument;
}

/** The container that the vault is to be rebuilt from, and the others that say that they are its. */
async function findContainer(
  ports: Ports,
  address: VaultAddress,
  wanted: string | undefined,
): Promise<{ chosen: FoundContainer; others: FoundContainer[] }> {
  const names: string[] = [];
  for await (const name of ports.vaults.list()) names.push(name);
  const found: FoundContainer[] = [];
  const unreadable: string[] = [];
  const look = async (containerName: string): Promise<void> => {
    try {
      const document = await readVaultDocument(await ports.vaults.open(containerName));
      const named = document && vaultKey({ ...document, vault: document.name });
      if (document !== undefined && named === vaultKey(address)) found.push({ containerName, document });
    } catch (error) {
      if (!isBackupError(error, 'DocumentCorrupt', 'FormatUnsupported')) throw error;
      unreadable.push(`${error.code}: ${error.message} (container ${containerName})`);
    }
  };
  for await (const _ of inOrder(names, READS_IN_FLIGHT, look)) void _;
  found.sort((a, b) => (a.containerName < b.containerName ? -1 : 1));
  const possible =
    wanted === undefined
      ? await possibleOf(ports, address, found)
      : found.filter(({ containerName }) => containerName === wanted);
  const [only, ...rivals] = possible;
  const mine = `vault ${address.vault} of resource group ${address.resourceGroup}`;
  if (only === undefined) {
    const also = unreadable.length === 0 ? '' : `; unreadable: ${unreadable.join('; ')}`;
    const what = wanted === undefined ? 'no container of the vault account' : `no container ${wanted} that`;
    throw new BackupError('ResourceNotFound', `there is ${what} says that it is of ${mine}${also}`);
  }
  if (rivals.length > 0) {
    const all = possible.map(({ containerName }) => containerName).join(', ');
    throw new BackupError('RebuildAmbiguous', `${all} all say that they are of ${mine}: name one of them`, {
      target: 'container',
    });
  }
  await refuseOther(ports, address, only.containerName);
  return { chosen: only, others: found.filter((other) => other !== only) };
}

/** Of several the one that the vault's row names, if it holds something or no other does: a vault made anew may be the empty one. */
async function possibleOf(
  ports: Ports,
  address: VaultAddress,
  found: readonly FoundContainer[],
): Promise<readonly FoundContainer[]> {
  const standing = found.length < 2 ? undefined : await findVault(ports, address);
  const own = found.find(({ containerName }) => containerName === standing?.containerName);
  if (own === undefined || (await heldIn(ports, own.containerName)).length > 0)
    return own === undefined ? found : [own];
  for (const other of found) if (other !== own && (await heldIn(ports, other.containerName)).length > 0) return found;
  return [own];
}

/** A vault that was made anew under the name of the lost one has a container of its own: it gives way only while it is empty. */
async function refuseOther(ports: Ports, address: VaultAddress, containerName: string): Promise<void> {
  const standing = await findVault(ports, address);
  if (standing === undefined || standing.containerName === containerName) return;
  const refuse = (why: string): never => {
    throw new BackupError(
      'RebuildAmbiguous',
      `vault ${address.vault} uses container ${standing.containerName} now and ${why}: container ${containerName} cannot take its place`,
      { target: 'container' },
    );
  };
  for await (const { row } of ports.catalog.items.list(vaultKey(address))) refuse(`protects ${row.vmName} there`);
  const [held] = await heldIn(ports, standing.containerName);
  if (held !== undefined) refuse(held);
}

/** Drops a container that the vault does not use, unless an item has ever been in it. Where that fails the next rebuild tries again. */
async function dropIfEmpty(ports: Ports, address: VaultAddress, containerName: string): Promise<void> {
  try {
    if ((await itemsIn(await ports.vaults.open(containerName))).length > 0) return;
    if ((await findVault(ports, address))?.containerName !== containerName) await ports.vaults.drop(containerName);
  } catch (error) {
    if (!isBackupError(error)) throw error;
    ports.log(`container ${containerName}, which vault ${address.vault} does not use, stays: ${error.message}`);
  }
}

/** Undefined for a container that is none of a vault, or of one that was not finished. */
async function readVaultDocument(container: VaultContainer): Promise<VaultDocument | undefined> {
  try {
    return decodeDocument(VAULT_NAME, await container.readWhole(VAULT_NAME), vaultDocument);
  } catch (error) {
    if (isBackupError(error, 'BlobNotFound')) return undefined;
    throw error;
  }
}

/**
 * The coordinator of a rebuild: compares the container's item folders with the items that the job's report has, and ends the job when
 * all are there. Safe to run beside itself.
 */
export async function rebuildVault(ports: Ports, step: { vault: string; jobId: string; round: number }): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  if ((await readJob(ports, address))?.status !== 'InProgress') return;
  const { container, row: vault } = await openVault(ports, step.vault);
  if (step.round === 0) await before(ports, address, container);
  const entries = await readReport(ports, address);
  const items = await itemsIn(container);
  const missing = items.filter((item) => !entries.has(item));
  const done = items.length - missing.length;
  await changeJob(ports, address, (job) =>
    job.status === 'InProgress'
      ? { ...job, bag: { Container: vault.containerName, Items: `${items.length}`, 'Items Done': `${done}` } }
      : undefined,
  );
  if (missing.length === 0) return finish(ports, address);
  if (step.round % LOOKS_UNTIL_RESENT === 0) {
    await forEachAtOnce(missing, SENDS_IN_FLIGHT, (item) =>
      ports.queue.send({ step: 'rebuild-item', v: 1, ...address, item }),
    );
  }
  await ports.queue.send(
    { step: 'rebuild-vault', v: 1, ...address, round: step.round + 1 },
    backOffSeconds(step.round),
  );
}

/** What the container cannot tell: jobs that run without being known to the watch, and items that have a row and nothing else. */
async function before(ports: Ports, address: JobAddress, container: VaultContainer): Promise<void> {
  for await (const { key, row } of ports.catalog.jobs.list(address.vault)) {
    if (ENDED.has(row.status) || (await ports.catalog.openJobs.get(address.vault, key)) !== undefined) continue;
    await ports.catalog.openJobs.upsert(address.vault, key, { startedAt: row.startedAt });
  }
  const there = new Set(await itemsIn(container));
  for await (const { row } of ports.catalog.items.list(address.vault)) {
    if (there.has(row.itemId)) continue;
    const text = `the container has nothing of item ${row.itemId}: its row is left as it is`;
    await report(ports, address, row.itemId, {
      subject: row.vmName,
      outcome: 'Missing',
      text,
      details: { item: row.itemId },
    });
  }
}

const ALL_RIGHT: ReadonlySet<string> = new Set(['Rebuilt', 'Empty']);

async function finish(ports: Ports, address: JobAddress): Promise<void> {
  const entries = [...(await readReport(ports, address)).values()];
  const wrong = entries.filter(({ outcome }) => !ALL_RIGHT.has(outcome));
  if (wrong.length === 0) return finishJob(ports, address, 'Completed');
  const named = wrong.slice(0, 5).map(({ subject, outcome }) => `${subject} (${outcome})`);
  const more = wrong.length > named.length ? ` and ${wrong.length - named.length} more` : '';
  const message = `${wrong.length} of ${entries.length} items are not wholly back: ${named.join(', ')}${more}; the report says why`;
  await changeJob(ports, address, (job) =>
    job.status === 'InProgress' && job.errors.length === 0
      ? { ...job, errors: [{ code: 'RebuildIncomplete', message, recommendations: adviceFor('RebuildIncomplete') }] }
      : undefined,
  );
  await finishJob(ports, address, 'CompletedWithWarnings');
}
