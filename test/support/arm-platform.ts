import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { ComputeManagementClient } from '@azure/arm-compute';
import { RecoveryServicesClient } from '@azure/arm-recoveryservices';
import {
  type AzureIaaSVMJob,
  type AzureIaaSVMProtectionPolicy,
  type JobResource,
  type OperationStatusJobExtendedInfo,
  RecoveryServicesBackupClient,
} from '@azure/arm-recoveryservicesbackup';
import type { TokenCredential } from '@azure/identity';
import { BlobServiceClient, type PageBlobClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { type Answered, answerChecker } from './answer-checker.ts';
import { startPlatform, type Endpoints, type Platform, type PlatformOptions } from '../../local/platform/start.ts';

export const LOCATION = 'westeurope';
export const GROUP = 'backup-rg';
export const VM_GROUP = 'app-rg';
export type Role = 'Backup Reader' | 'Backup Operator' | 'Backup Contributor';

type Policies = NonNullable<
  NonNullable<ConstructorParameters<typeof ComputeManagementClient>[2]>['additionalPolicies']
>;
type PipelinePolicy = Policies[number]['policy'];

/** A whole platform with the official clients as a user would make them. */
export interface ArmPlatform {
  readonly endpoints: Endpoints;
  readonly dataDir: string;
  /** The main host's process id; undefined while another one starts. */
  readonly hostPid: number | undefined;
  token(roles: readonly Role[]): Promise<string>;
  vaults(roles?: readonly Role[]): RecoveryServicesClient;
  backup(roles?: readonly Role[]): RecoveryServicesBackupClient;
  readonly compute: ComputeManagementClient;
  blobs(account: string): BlobServiceClient;
  /** A call as any HTTP client would make it, with a contributor's token unless `headers` say otherwise. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ArmReply>;
  stop(): Promise<void>;
}

export interface ArmReply {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}

/** Starts the platform on a folder of its own; this process trusts its CA from then on. */
export async function startArmPlatform(
  storage: 'completed' | 'stock' = 'completed',
  options: Pick<PlatformOptions, 'env' | 'output'> = {},
): Promise<ArmPlatform> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-arm-e2e-'));
  const platform: Platform = await startPlatform({ dataDir, portBase: 0, storage, say: () => {}, ...options });
  const { endpoints } = platform;
  setDefaultCACertificates([...getCACertificates('default'), await readFile(endpoints.caFile, 'utf8')]);

  const token = async (roles: readonly Role[]): Promise<string> => {
    const answer = await fetch(`${endpoints.http}/local/token`, { method: 'POST', body: JSON.stringify({ roles }) });
    return ((await answer.json()) as { access_token: string }).access_token;
  };
  const credential = (roles: readonly Role[] = ['Backup Contributor']): TokenCredential => ({
    getToken: async () => ({ token: await token(roles), expiresOnTimestamp: Date.now() + 3_000_000 }),
  });
  const check = answerChecker();
  /** Holds an answer of the API against its OpenAPI document; while a host restarts the front answers for it. */
  const described = (
    method: string,
    url: string,
    answer: { status: number; headers: Answered['headers'] },
    text: string,
  ): void => {
    const { pathname } = new URL(url);
    if (!/microsoft\.recoveryservices/i.test(pathname) || answer.status === 503) return;
    const { status, headers } = answer;
    const problem = check(method, pathname, { status, headers, body: text === '' ? undefined : JSON.parse(text) });
    if (problem !== undefined)
      throw new Error(`${method} ${pathname} answers ${status} ${text.slice(0, 400)}: ${problem}`);
  };
  const policy: PipelinePolicy = {
    name: 'answers-are-as-described',
    async sendRequest(request, next) {
      const response = await next(request);
      described(request.method, request.url, response, response.bodyAsText ?? '');
      return response;
    },
  };
  const client = { endpoint: endpoints.https, additionalPolicies: [{ policy, position: 'perRetry' as const }] };
  return {
    endpoints,
    dataDir,
    get hostPid() {
      return platform.hostPid;
    },
    token,
    vaults: (roles) => new RecoveryServicesClient(credential(roles), endpoints.subscriptionId, client),
    backup: (roles) => new RecoveryServicesBackupClient(credential(roles), endpoints.subscriptionId, client),
    compute: new ComputeManagementClient(credential(), endpoints.subscriptionId, client),
    blobs(name) {
      const account = endpoints.storage.find((each) => each.account === name);
      if (account === undefined) throw new Error(`the platform has no account ${name}`);
      return new BlobServiceClient(account.blob, new StorageSharedKeyCredential(name, account.key));
    },
    async call(method, path, body, headers = {}) {
      const auth = 'authorization' in headers ? {} : { authorization: `Bearer ${await token(['Backup Contributor'])}` };
      const answer = await fetch(`${endpoints.https}${path}`, {
        method,
        headers: { 'content-type': 'application/json', ...auth, ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await answer.text();
      described(method, `${endpoints.https}${path}`, answer, text);
      return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
    },
    async stop() {
      await platform.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A page blob of `sizeBytes` with `pages` written at their offsets. */
export async function makeDisk(
  platform: ArmPlatform,
  account: string,
  name: string,
  sizeBytes: number,
  pages: readonly { offset: number; bytes: Buffer }[],
): Promise<PageBlobClient> {
  const container = platform.blobs(account).getContainerClient('vhds');
  await container.createIfNotExists();
  const blob = container.getPageBlobClient(name);
  await blob.create(sizeBytes);
  for (const { offset, bytes } of pages) await blob.uploadPages(bytes, offset, bytes.byteLength);
  return blob;
}

/** Makes a VM of disks that are there: page blobs by URL, managed disks by resource id. Resolves its own. */
export async function makeVm(
  platform: ArmPlatform,
  name: string,
  disks: { os: string; data?: readonly { lun: number; url: string }[] },
): Promise<string> {
  const vm = await platform.compute.virtualMachines
    .createOrUpdate(VM_GROUP, name, {
      location: LOCATION,
      hardwareProfile: { vmSize: 'Standard_D2s_v3' },
      storageProfile: {
        osDisk: { name: `${name}-os`, osType: 'Linux', createOption: 'Attach', ...placed(disks.os) },
        dataDisks: (disks.data ?? []).map(({ lun, url }) => ({
          lun,
          name: `${name}-d${lun}`,
          createOption: 'Attach',
          ...placed(url),
        })),
      },
    })
    .pollUntilDone();
  if (vm.id === undefined) throw new Error('the VM has no id');
  return vm.id;
}

const placed = (place: string) => (place.startsWith('/') ? { managedDisk: { id: place } } : { vhd: { uri: place } });

/** A managed disk of so many GiB, empty; resolves its id and the page blob behind it, which the test writes in place of a guest. */
export async function makeManagedDisk(
  platform: ArmPlatform,
  name: string,
  diskSizeGB: number,
): Promise<{ id: string; blob: PageBlobClient }> {
  const { id, uniqueId } = await platform.compute.disks.beginCreateOrUpdateAndWait(VM_GROUP, name, {
    location: LOCATION,
    sku: { name: 'Premium_LRS' },
    hyperVGeneration: 'V2',
    creationData: { createOption: 'Empty' },
    diskSizeGB,
  });
  return { id: id!, blob: blobOfManaged(platform, uniqueId!) };
}

/** The page blob behind a managed disk. */
export function blobOfManaged(platform: ArmPlatform, uniqueId: string): PageBlobClient {
  return platform.blobs('stratadisks1').getContainerClient(`md-${uniqueId}`).getPageBlobClient('abcd');
}

/** Daily at 01:30 UTC, kept `days` days. */
export function dailyPolicy(days: number): AzureIaaSVMProtectionPolicy {
  const at = new Date('2026-01-05T01:30:00Z');
  return {
    backupManagementType: 'AzureIaasVM',
    policyType: 'V1',
    timeZone: 'UTC',
    instantRpRetentionRangeInDays: Math.min(2, days),
    schedulePolicy: {
      schedulePolicyType: 'SimpleSchedulePolicy',
      scheduleRunFrequency: 'Daily',
      scheduleRunTimes: [at],
    },
    retentionPolicy: {
      retentionPolicyType: 'LongTermRetentionPolicy',
      dailySchedule: { retentionTimes: [at], retentionDuration: { count: days, durationType: 'Days' } },
    },
  };
}

export const containerOf = (vm: string): string => `IaasVMContainer;iaasvmcontainerv2;${VM_GROUP};${vm}`;
export const itemOf = (vm: string): string => `VM;iaasvmcontainerv2;${VM_GROUP};${vm}`;

/** Where a VM's item is, as the client's methods take it. */
export const at = (vault: string, vm: string): [string, string, string, string, string] => [
  vault,
  GROUP,
  'Azure',
  containerOf(vm),
  itemOf(vm),
];

/** Runs a call whose 202 carries the operation's id in a header, and resolves the id of the job that it started. */
export async function jobOf(
  client: RecoveryServicesBackupClient,
  vault: string,
  act: (options: {
    onResponse: (raw: { headers: { get(name: string): string | undefined } }) => void;
  }) => Promise<unknown>,
): Promise<string> {
  let header: string | undefined;
  await act({ onResponse: ({ headers }) => (header ??= headers.get('azure-asyncoperation')) });
  const operation = /\/([^/?]+)\?/.exec(header?.slice(header.lastIndexOf('/')) ?? '')?.[1];
  if (operation === undefined) throw new Error(`no operation in ${header}`);
  const { status, properties } = await client.backupOperationStatuses.get(vault, GROUP, operation);
  if (status !== 'Succeeded' || properties?.objectType !== 'OperationStatusJobExtendedInfo') {
    throw new Error(`operation ${operation} is ${status}`);
  }
  return (properties as OperationStatusJobExtendedInfo).jobId!;
}

/** Waits until a job has ended. */
export async function ended(
  client: RecoveryServicesBackupClient,
  vault: string,
  jobId: string,
): Promise<JobResource & { properties: AzureIaaSVMJob }> {
  for (const until = Date.now() + 120_000; Date.now() < until;) {
    const job = await client.jobDetails.get(vault, GROUP, jobId);
    if (!['InProgress', 'Cancelling'].includes(job.properties?.status ?? '')) {
      return job as JobResource & { properties: AzureIaaSVMJob };
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`job ${jobId} has not ended in two minutes`);
}

export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}
