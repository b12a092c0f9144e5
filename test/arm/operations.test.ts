import { beforeEach, describe, expect, it } from 'vitest';
import type { OperationRow } from '../../shared/catalog/operation-row.ts';
import { type Answer, askWorld, VAULT_PATH } from '../support/ask-world.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* Operations: where they can be asked for, how they go, and that they outlive what they worked on. */

let world: World;
let container: string;
let item: string;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  askWorld(world, method, VAULT_PATH + path, body);
const said = async (path: string) => {
  const { status, body } = await ask('GET', path);
  return [status, body?.error?.code ?? body?.status ?? body?.name];
};
/** The id at the end of a link that clients cut it from. */
const idIn = (link: string | undefined): string => /\/([^/?]+)\?/.exec(link!.slice(link!.lastIndexOf('/')))![1]!;

async function operation(row: Partial<OperationRow>): Promise<string> {
  const id = `operation-${world.ports.ids.hex(6)}`;
  await world.ports.catalog.operations.insert(VAULT, id, {
    startedAt: world.clock.now(),
    resource: item.slice(1),
    ...row,
  });
  return id;
}

beforeEach(async () => {
  world = await createWorld();
  await world.createVm('vm', [65_536]);
  await world.protect('vm');
  for await (const { row } of world.ports.catalog.items.listAll())
    container = `/backupfabrics/azure/protectioncontainers/iaasvmcontainer;iaasvmcontainerv2;${row.resourceGroup.toLowerCase()};vm`;
  item = `${container}/protecteditems/${container.split('/').at(-1)!.replace('iaasvmcontainer;', 'vm;')}`;
});

describe('an operation on an item', () => {
  const stop = {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      protectionState: 'ProtectionStopped',
      policyId: '',
    },
  };

  it('is known at the item, and at the vault by the same id', async () => {
    const { headers } = await ask('PUT', item, stop);
    const id = idIn(headers['Azure-AsyncOperation']);
    expect(idIn(headers['Location'])).toBe(id);
    for (const path of [`${item}/operationsStatus`, '/backupOperations', '/operationStatus'])
      expect(await said(`${path}/${id}`)).toEqual([200, 'Succeeded']);
    expect((await ask('GET', `${item}/operationResults/${id}`)).body.properties.protectionState).toBe(
      'ProtectionStopped',
    );
    expect(await said(`/backupOperationResults/${id}`)).toEqual([204, undefined]);
    expect(await said(`/operationResults/${id}`)).toEqual([200, 'v1']);
  });

  it('can be asked for when the item is gone: it has succeeded, and there is nothing to show', async () => {
    const { headers } = await ask('PUT', item, stop);
    const id = idIn(headers['Location']);
    for await (const { partition, key } of world.ports.catalog.items.listAll())
      await world.ports.catalog.items.remove(partition, key);
    expect(await said(item)).toEqual([404, 'ResourceNotFound']);
    expect(await said(`${item}/operationsStatus/${id}`)).toEqual([200, 'Succeeded']);
    expect(await said(`${item}/operationResults/${id}`)).toEqual([204, undefined]);
  });

  it('is not one of another item, of a policy, a container, or nobody', async () => {
    const id = await operation({});
    const other = item.replaceAll(/;vm(?=\/|$)/g, ';other');
    for (const path of [
      `${other}/operationsStatus/${id}`,
      `${other}/operationResults/${id}`,
      `/backupPolicies/DefaultPolicy/operations/${id}`,
      `/backupPolicies/DefaultPolicy/operationResults/${id}`,
      `${container}/operationResults/${id}`,
      `${item}/operationsStatus/nobodys`,
      `${item}/operationResults/nobodys`,
      '/backupOperations/nobodys',
      '/backupOperationResults/nobodys',
      '/operationStatus/nobodys',
      '/operationResults/nobodys',
      `/backupFabrics/Azure/operationResults/${id}`,
    ])
      expect([path, ...(await said(path))]).toEqual([path, 404, 'OperationNotFound']);
  });

  it.each(['operationsStatus', 'operationResults'])(
    'has no %s where item and container are different VMs',
    async (kind) => {
      expect(await said(`${container}/protectedItems/VM;iaasvmcontainerv2;g;other/${kind}/1`)).toEqual([
        400,
        'InvalidResourceName',
      ]);
    },
  );
});

describe('an operation that goes on', () => {
  it('says so at every door, and where to ask again', async () => {
    const id = await operation({ status: 'InProgress' });
    for (const path of [`${item}/operationsStatus/${id}`, `/backupOperations/${id}`]) {
      const { body, headers } = await ask('GET', path);
      expect([body.status, body.endTime, headers['Retry-After']]).toEqual(['InProgress', undefined, '1']);
    }
    for (const path of [`${item}/operationResults/${id}`, `/backupOperationResults/${id}`, `/operationResults/${id}`]) {
      const { status, body, headers } = await ask('GET', path);
      expect([status, body, headers['Retry-After']]).toEqual([202, undefined, '1']);
      const again = await askWorld(world, 'GET', headers['Location']!.replace('http://strata', ''));
      expect(again.status).toBe(202);
    }
  });
});

describe('an operation that has failed', () => {
  it('tells why, as its status and as its result', async () => {
    const error = { code: 'VMNotFoundV2', message: 'the VM is gone' };
    const endedAt = world.clock.now() + 5000;
    const id = await operation({ status: 'Failed', error, endedAt });
    const { body } = await ask('GET', `/backupOperations/${id}`);
    expect(body).toMatchObject({ status: 'Failed', error, endTime: new Date(endedAt).toISOString() });
    for (const path of [`${item}/operationResults/${id}`, `/backupOperationResults/${id}`])
      expect(await ask('GET', path)).toMatchObject({ status: 404, body: { error } });
  });

  it('or was cancelled says that', async () => {
    const id = await operation({ status: 'Canceled' });
    expect(await said(`/backupOperations/${id}`)).toEqual([200, 'Canceled']);
    expect(await said(`/backupOperationResults/${id}`)).toEqual([409, 'UserErrorJobSuccessfullyCancelled']);
  });
});

describe('operations on policies and containers', () => {
  it('come to the policy, and to nothing', async () => {
    const policy = await operation({ resource: 'backuppolicies/defaultpolicy' });
    expect(await said(`/backupPolicies/DefaultPolicy/operations/${policy}`)).toEqual([200, 'Succeeded']);
    expect(await said(`/backupPolicies/defaultpolicy/operationResults/${policy}`)).toEqual([200, 'DefaultPolicy']);
    const inquiry = await operation({ resource: container.slice(1) });
    expect(await said(`${container}/operationResults/${inquiry}`)).toEqual([204, undefined]);
    expect(await said(`/backupFabrics/Azure/protectionContainers/web1/operationResults/${inquiry}`)).toEqual([
      400,
      'InvalidResourceName',
    ]);
  });

  it('are gone with their vault', async () => {
    const id = await operation({});
    const elsewhere = VAULT_PATH.replace('/v1', '/v2');
    for (const path of ['backupOperations', 'operationStatus', 'operationResults'])
      expect((await askWorld(world, 'GET', `${elsewhere}/${path}/${id}`)).body.error.code).toBe('ResourceNotFound');
  });
});
