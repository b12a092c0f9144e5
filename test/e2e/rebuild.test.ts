import { AzureNamedKeyCredential, TableServiceClient } from '@azure/data-tables';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ArmPlatform, GROUP, all, at, makeDisk, makeVm, startArmPlatform } from '../support/arm-platform.ts';
import { CliVault } from '../support/cli-vault.ts';
import { type DiskImage, filled, imageOf } from '../support/disk-image.ts';

/*
 * All tables of a running platform are deleted from under it. Then the program that a person would use builds them anew from the
 * vault's container, and every point restores bit for bit.
 */

const VM = 'lost1';
const VAULT = 'lost-vault';
const BLOBS = [`${VM}-os.vhd`, `${VM}-d0.vhd`];
const BLOCK = 16_384;

let platform: ArmPlatform;
let own: CliVault;
beforeAll(async () => {
  platform = await startArmPlatform();
  own = new CliVault(platform, VAULT, VM);
});
afterAll(() => platform?.stop());

it('builds the tables of a vault anew, and every point restores', { timeout: 300_000 }, async () => {
  const os = await makeDisk(platform, 'stratadisks1', `${VM}-os.vhd`, 64 * 2 ** 20, [
    { offset: 0, bytes: filled(40 * BLOCK, 1) },
  ]);
  const data = await makeDisk(platform, 'stratadisks2', `${VM}-d0.vhd`, 3 * 2 ** 30, [
    { offset: 2 ** 30 - 2 * BLOCK, bytes: filled(4 * BLOCK, 2) },
  ]);
  const vmId = await makeVm(platform, VM, { os: os.url, data: [{ lun: 0, url: data.url }] });
  await own.create();
  await own.protect(vmId);
  const images = new Map<string, DiskImage[]>();
  for (let n = 0; n < 3; n++) {
    await os.uploadPages(filled(2 * BLOCK, 10 + n), n * 4 * BLOCK, 2 * BLOCK);
    await data.clearPages(2 ** 30 + n * BLOCK, 1024);
    const now = [await imageOf(os), await imageOf(data)];
    images.set(await own.backUp(), now);
  }
  const before = await own.points();

  const { table, account, key } = platform.endpoints.storage[0]!;
  const tables = new TableServiceClient(table, new AzureNamedKeyCredential(account, key), {
    allowInsecureConnection: true,
  });
  const names = (await all(tables.listTables())).map(({ name }) => name!).filter((name) => name.startsWith('strata'));
  expect(names.length).toBeGreaterThan(5);
  for (const name of names) await tables.deleteTable(name);
  const gone = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}?api-version=2024-04-01`;
  expect((await platform.call('GET', gone)).status).toBe(404);

  const { exit, out, err } = await own.strata('vault', 'rebuild-catalog', ...own.options);
  expect({ exit, out }, err).toMatchObject({ exit: 0 });
  expect(out).toMatch(/Rebuilt {4}lost1 {2}3 recovery points, 3 of them in the vault, 3 in the snapshot tier/);
  expect(err).toMatch(/job [0-9a-f-]{36}: /);

  const essence = (list: typeof before) => list.map(({ name, properties }) => ({ name, properties }));
  const after = await own.points();
  // Without a policy nothing says when a point ends.
  const withoutExpiry = (text: string) =>
    text.replaceAll(/,?"(expiryTime|extendedInfo|recoveryPointProperties)":("[^"]*"|\{[^{}]*\})/g, '');
  expect(withoutExpiry(JSON.stringify(essence(after)))).toBe(withoutExpiry(JSON.stringify(essence(before))));
  for (const [point, image] of images) expect(await own.restored(point, BLOBS)).toEqual(image);

  // Given a policy again it goes on where it was.
  await own.protect(vmId);
  await os.uploadPages(filled(BLOCK, 30), 0, BLOCK);
  const now = [await imageOf(os), await imageOf(data)];
  const next = await own.backUp();
  expect(await own.points()).toHaveLength(4);
  expect(await own.restored(next, BLOBS)).toEqual(now);

  // Once more, with everything there: all comes back stopped, and the report says that nothing was missing.
  const again = await own.strata('vault', 'rebuild-catalog', ...own.options, '--json');
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
  const unknown = await own.strata('vault', 'rebuild-catalog', '--vault', 'nobody', '--resource-group', GROUP);
  expect(unknown).toMatchObject({ exit: 1, out: '' });
  expect(unknown.err).toMatch(/404 ResourceNotFound: .*nobody/);
  const reader = await platform.token(['Backup Reader']);
  const refused = await own.strata('vault', 'rebuild-catalog', ...own.options, '--token', reader);
  expect(refused.exit).toBe(1);
  expect(refused.err).toContain('403 AuthorizationFailed');
  expect((await own.strata('vault', 'rebuild-catalog', '--vault', 'x')).exit).toBe(2);
  expect((await own.strata('vault', 'rebuild-catalog', ...own.options, '--data', '/nowhere')).exit).toBe(3);
});
