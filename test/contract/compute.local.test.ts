import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ComputeManagementClient } from '@azure/arm-compute';
import type { TokenCredential } from '@azure/identity';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createComputeEmulator } from '../../local/compute/emulator.ts';
import { createIdentity } from '../../local/identity/issuer.ts';
import { azureCompute } from '../../shared/compute/azure-compute.ts';
import { parseVirtualMachineId } from '../../shared/compute/vm-id.ts';
import { type ArmServer, serveArm } from '../support/arm-server.ts';
import { collect } from '../support/collect.ts';
import { type ContractStorage, contractStorage } from '../support/contract-storage.ts';
import { computeContract, type MachineSpec } from './compute.contract.ts';

const subscriptionId = '0b1f6471-1bf0-4dda-aec3-cb9272f09590';
const tenantId = '8f1c2f43-2a0b-4c52-9d63-3f5f1a8f5d10';
const location = 'westeurope';

/** 1 MiB and the footer of a fixed VHD. */
const VHD_BYTES = 1_048_576 + 512;

const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

const fixedToken = (token: string): TokenCredential => ({
  getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }),
});

/** Machines are made as an administrator makes them: blobs and disk resources first, then the machine that they belong to. */
function administrator(client: ComputeManagementClient, storage: ContractStorage) {
  const vhds = BlobServiceClient.fromConnectionString(storage.connectionString).getContainerClient('vhds');
  const vhd = async (name: string) => {
    await vhds.createIfNotExists();
    const blob = vhds.getPageBlobClient(`${name}.vhd`);
    await blob.deleteIfExists();
    await blob.create(VHD_BYTES);
    return { name, createOption: 'Attach', vhd: { uri: blob.url } };
  };
  const managed = async (resourceGroup: string, name: string) => {
    const empty = { location, diskSizeGB: 1, creationData: { createOption: 'Empty' } };
    const { id } = await client.disks.createOrUpdate(resourceGroup, name, empty);
    return { name, createOption: 'Attach', managedDisk: { id: id ?? '' } };
  };
  return async (spec: MachineSpec): Promise<void> => {
    const { resourceGroup, name } = spec;
    const disk = (diskName: string) => (spec.managed ? managed(resourceGroup, diskName) : vhd(diskName));
    const dataDisks = [];
    for (const lun of spec.luns) dataDisks.push({ ...(await disk(`${name}-data${lun}`)), lun });
    await client.virtualMachines.createOrUpdate(resourceGroup, name, {
      location,
      hardwareProfile: { vmSize: spec.size },
      storageProfile: { osDisk: { ...(await disk(`${name}-os`)), osType: spec.osType }, dataDisks },
    });
  };
}

computeContract('Azure Resource Manager', async () => {
  const storage = await contractStorage();
  closers.push(() => storage.stop());
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-compute-'));
  closers.push(() => rm(dataDir, { recursive: true, force: true }));
  const [, account = '', key = '', blob = ''] =
    /AccountName=([^;]+);AccountKey=([^;]+);BlobEndpoint=([^;]+)/.exec(storage.connectionString) ?? [];
  const identity = await createIdentity({ dataDir, tenantId });
  const emulator = createComputeEmulator({
    dataDir,
    subscriptionId,
    location,
    storage: [{ account, kind: 'standard', blob, key }],
    now: () => Date.now(),
    verify: (token) => identity.verify(token),
  });
  const server = await serveArm([emulator.handle]);
  closers.push(() => server.close());
  const token = await identity.mint({ roles: ['Backup Contributor'], subject: 'contract' });
  const client = new ComputeManagementClient(fixedToken(token), subscriptionId, { endpoint: server.endpoint });
  return {
    compute: azureCompute({ endpoint: server.endpoint, credential: fixedToken(token) }),
    subscriptionId,
    location,
    create: administrator(client, storage),
    async delete(resourceId) {
      const { resourceGroup, name } = parseVirtualMachineId(resourceId);
      await client.virtualMachines.delete(resourceGroup, name);
    },
  };
});

describe('Azure compute adapter, faced with answers that the emulator never gives', () => {
  let answer: (url: URL) => Response;
  let server: ArmServer;
  beforeAll(async () => {
    server = await serveArm([async (request) => answer(new URL(request.url))]);
  });
  afterAll(() => server?.close());

  const group = `/subscriptions/${subscriptionId}/resourceGroups`;
  const id = `${group}/rg/providers/Microsoft.Compute/virtualMachines/vm`;
  const open = (more: { location?: string } = {}) =>
    azureCompute({ endpoint: server.endpoint, credential: fixedToken('any'), ...more });
  const failure = (status: number, code: string) =>
    Response.json({ error: { code, message: `because ${code}` } }, { status });
  const machine = (name: string, more: { id?: string; location?: string; properties?: object } = {}) => ({
    id: `${group}/RG/providers/Microsoft.Compute/virtualMachines/${name}`,
    name,
    location: 'westeurope',
    properties: {
      vmId: '11111111-2222-3333-4444-555555555555',
      hardwareProfile: { vmSize: 'Standard_B1s' },
      storageProfile: { osDisk: { name: 'os', osType: 'Linux', createOption: 'Attach', managedDisk: { id: 'disk' } } },
    },
    ...more,
  });

  it('404 with an ARM code is absence; any other failure is ComputeUnavailable with code and message', async () => {
    answer = () => failure(404, 'ResourceGroupNotFound');
    expect(await open().virtualMachine(id)).toBeUndefined();
    for (const [status, code] of [
      [403, 'AuthorizationFailed'],
      [401, 'InvalidAuthenticationToken'],
      [409, 'Conflict'],
    ] as const) {
      answer = () => failure(status, code);
      await expect(open().virtualMachine(id)).rejects.toMatchObject({
        code: 'ComputeUnavailable',
        message: expect.stringMatching(new RegExp(`${status} ${code} because ${code}`)) as unknown,
      });
      await expect(collect(open().virtualMachines(subscriptionId))).rejects.toMatchObject({
        code: 'ComputeUnavailable',
        message: expect.stringMatching(new RegExp(`${status} ${code}`)) as unknown,
      });
    }
  });

  it('a page that is not from ARM is no absence', async () => {
    answer = () => new Response('<html>not here</html>', { status: 404, headers: { 'content-type': 'text/html' } });
    await expect(open().virtualMachine(id)).rejects.toMatchObject({ code: 'ComputeUnavailable' });
  });

  it('tries again when Compute is busy, and obeys its Retry-After', async () => {
    let calls = 0;
    answer = () => {
      calls += 1;
      if (calls === 1) return new Response('', { status: 429, headers: { 'retry-after': '1' } });
      return calls === 2 ? failure(503, 'ServerBusy') : Response.json(machine('vm'));
    };
    expect(await open().virtualMachine(id)).toMatchObject({ name: 'vm', resourceGroup: 'RG' });
    expect(calls).toBe(3);
  });

  it('follows the pages of a listing, and stops with an error when one cannot be had', async () => {
    let secondPage: Response | undefined;
    answer = (url) =>
      url.searchParams.has('page')
        ? (secondPage ?? Response.json({ value: [machine('two'), machine('three')] }))
        : Response.json({
            value: [machine('one')],
            nextLink: `${server.endpoint}${url.pathname}?api-version=2025-04-01&page=2`,
          });
    const names = async () => (await collect(open().virtualMachines(subscriptionId))).map(({ name }) => name);
    expect(await names()).toEqual(['one', 'two', 'three']);
    secondPage = failure(400, 'BadPage');
    await expect(names()).rejects.toMatchObject({ code: 'ComputeUnavailable' });
  });

  it('lists one region only when told so, in either spelling', async () => {
    const far = machine('far', { location: 'eastus' });
    answer = () => Response.json({ value: [machine('near'), far] });
    const listed = await collect(open({ location: 'West Europe' }).virtualMachines(subscriptionId));
    expect(listed.map(({ name }) => name)).toEqual(['near']);
  });

  it('says what a description lacks', async () => {
    answer = () => Response.json(machine('vm', { properties: { storageProfile: {} } }));
    await expect(open().virtualMachine(id)).rejects.toMatchObject({
      code: 'ComputeUnavailable',
      message: expect.stringContaining('without storageProfile.osDisk') as unknown,
    });
  });

  it('an outage is ComputeUnavailable', async () => {
    const compute = azureCompute({ endpoint: 'https://127.0.0.1:1', credential: fixedToken('any') });
    await expect(compute.virtualMachine(id)).rejects.toMatchObject({
      code: 'ComputeUnavailable',
      cause: expect.objectContaining({ code: 'ECONNREFUSED' }) as unknown,
    });
  });
});
