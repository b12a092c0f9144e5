import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AzureNamedKeyCredential, TableServiceClient } from '@azure/data-tables';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  all,
  type ArmPlatform,
  at,
  containerOf,
  dailyPolicy,
  ended,
  GROUP,
  itemOf,
  jobOf,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';
import { type DiskImage, filled, imageOf } from '../support/disk-image.ts';

/*
 * All tables of a running platform are deleted from under it. Then the program that a person would use builds them anew from the
 * vault's container, and every point restores bit for bit.
 */

const PROGRAM = fileURLToPath(new URL('../../cli/strata.ts', import.meta.url));
const VM = 'lost1';
const VAULT = 'lost-vault';
const BLOCK = 16_384;

let platform: ArmPlatform;
let vmId: string;
beforeAll(async () => {
  platform = await startArmPlatform();
});
afterAll(() => platform?.stop());

/** `strata <args>` against the platform; resolves exit status and output. */
async function strata(...args: string[]): Promise<{ exit: number; out: string; err: string }> {
  const given = [PROGRAM, ...args.slice(0, 2), '--data', platform.dataDir, ...args.slice(2)];
  return promisify(execFile)(process.execPath, given, { env: { PATH: process.env['PATH'] } }).then(
    ({ stdout, stderr }) => ({ exit: 0, out: stdout, err: stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      exit: error.code,
      out: error.stdout,
      err: error.stderr,
    }),
  );
}

const ofVault = ['--vault', VAULT, '--resource-group', GROUP];
const points = () => all(platform.backup().recoveryPoints.list(...at(VAULT, VM)));

async function protect(): Promise<void> {
  await jobOf(platform.backup(), VAULT, (options) =>
    platform.backup().protectedItems.createOrUpdate(
      ...([VAULT, GROUP, 'Azure', containerOf(VM), itemOf(VM)] as const),
      {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId,
          policyId: `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/nightly`,
        },
      },
      options,
    ),
  );
}

async function backUp(): Promise<string> {
  const client = platform.backup();
  const known = new Set((await points()).map(({ name }) => name));
  const job = await jobOf(client, VAULT, (options) =>
    client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
  );
  const { properties } = await ended(client, VAULT, job);
  expect(properties.errorDetails ?? []).toEqual([]);
  return (await points()).map(({ name }) => name!).find((name) => !known.has(name))!;
}

async function restored(point: string): Promise<DiskImage[]> {
  const client = platform.backup();
  const account = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks2`;
  const job = await jobOf(client, VAULT, (options) =>
    client.restores.beginTrigger(
      ...at(VAULT, VM),
      point,
      {
        properties: {
          objectType: 'IaasVMRestoreRequest',
          recoveryPointId: point,
          recoveryType: 'RestoreDisks',
          storageAccountId: account,
          region: LOCATION,
        },
      },
      options,
    ),
  );
  const { properties } = await ended(client, VAULT, job);
  expect(properties.errorDetails ?? []).toEqual([]);
  const container = platform
    .blobs('stratadisks2')
    .getContainerClient(properties.extendedInfo!.propertyBag!['Config Blob Container Name']!);
  return Promise.all([`${VM}-os.vhd`, `${VM}-d0.vhd`].map((blob) => imageOf(container.getPageBlobClient(blob))));
}

it('builds the tables of a vault anew, and every point restores', { timeout: 300_000 }, async () => {
  const os = await makeDisk(platform, 'stratadisks1', `${VM}-os.vhd`, 64 * 2 ** 20, [
    { offset: 0, bytes: filled(40 * BLOCK, 1) },
  ]);
  const data = await makeDisk(platform, 'stratadisks2', `${VM}-d0.vhd`, 3 * 2 ** 30, [
    { offset: 2 ** 30 - 2 * BLOCK, bytes: filled(4 * BLOCK, 2) },
  ]);
  vmId = await makeVm(platform, VM, { os: os.url, data: [{ lun: 0, url: data.url }] });
  await platform
    .vaults()
    .vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  await platform.backup().protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(30) });
  await protect();
  const images = new Map<string, DiskImage[]>();
  for (let n = 0; n < 3; n++) {
    await os.uploadPages(filled(2 * BLOCK, 10 + n), n * 4 * BLOCK, 2 * BLOCK);
    await data.clearPages(2 ** 30 + n * BLOCK, 1024);
    const now = [await imageOf(os), await imageOf(data)];
    images.set(await backUp(), now);
  }
  const before = await points();

  const { table, account, key } = platform.endpoints.storage[0]!;
  const tables = new TableServiceClient(table, new AzureNamedKeyCredential(account, key), {
    allowInsecureConnection: true,
  });
  const names = (await all(tables.listTables())).map(({ name }) => name!).filter((name) => name.startsWith('strata'));
  expect(names.length).toBeGreaterThan(5);
  for (const name of names) await tables.deleteTable(name);
  const gone = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}?api-version=2024-04-01`;
  expect((await platform.call('GET', gone)).status).toBe(404);

  const { exit, out, err } = await strata('vault', 'rebuild-catalog', ...ofVault);
  expect({ exit, out }, err).toMatchObject({ exit: 0 });
  expect(out).toMatch(/Rebuilt {4}lost1 {2}3 recovery points, 3 of them in the vault, 3 in the snapshot tier/);
  expect(err).toMatch(/job [0-9a-f-]{36}: /);

  const essence = (list: typeof before) => list.map(({ name, properties }) => ({ name, properties }));
  const after = await points();
  // Without a policy nothing says when a point ends.
  const withoutExpiry = (text: string) =>
    text.replaceAll(/,?"(expiryTime|extendedInfo|recoveryPointProperties)":("[^"]*"|\{[^{}]*\})/g, '');
  expect(withoutExpiry(JSON.stringify(essence(after)))).toBe(withoutExpiry(JSON.stringify(essence(before))));
  for (const [point, image] of images) expect(await restored(point)).toEqual(image);

  // Given a policy again it goes on where it was.
  await platform.backup().protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(30) });
  await protect();
  await os.uploadPages(filled(BLOCK, 30), 0, BLOCK);
  const now = [await imageOf(os), await imageOf(data)];
  const next = await backUp();
  expect(await points()).toHaveLength(4);
  expect(await restored(next)).toEqual(now);

  // Once more, with everything there: all comes back stopped, and the report says that nothing was missing.
  const again = await strata('vault', 'rebuild-catalog', ...ofVault, '--json');
  expect(again.exit, again.err).toBe(0);
  expect(JSON.parse(again.out)).toMatchObject({
    properties: {
      operation: 'Rebuild',
      status: 'Completed',
      report: [{ subject: VM, outcome: 'Rebuilt', details: { points: 4, inVault: 4, added: 0 } }],
    },
  });
  const item = await platform.backup().protectedItems.get(...at(VAULT, VM));
  expect(item.properties).toMatchObject({ protectionState: 'ProtectionStopped' });
});

it('tells by its exit status what went wrong', { timeout: 60_000 }, async () => {
  const unknown = await strata('vault', 'rebuild-catalog', '--vault', 'nobody', '--resource-group', GROUP);
  expect(unknown).toMatchObject({ exit: 1, out: '' });
  expect(unknown.err).toMatch(/404 ResourceNotFound: .*nobody/);
  const reader = await platform.token(['Backup Reader']);
  const refused = await strata('vault', 'rebuild-catalog', ...ofVault, '--token', reader);
  expect(refused.exit).toBe(1);
  expect(refused.err).toContain('403 AuthorizationFailed');
  expect((await strata('vault', 'rebuild-catalog', '--vault', 'x')).exit).toBe(2);
  expect((await strata('vault', 'rebuild-catalog', ...ofVault, '--data', '/nowhere')).exit).toBe(3);
});
