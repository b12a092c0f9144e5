import { AnonymousCredential, ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ArmPlatform, makeDisk, makeVm, startArmPlatform } from '../support/arm-platform.ts';
import { CliVault } from '../support/cli-vault.ts';
import { imageOf, noise } from '../support/disk-image.ts';

/* A vault on a running platform is damaged, looked at, healed by the next backup, cleaned up and explained, all by the program. */

const VM = 'sound1';
const BLOBS = [`${VM}-os.vhd`];
const BLOCK = 16_384;

let platform: ArmPlatform;
let own: CliVault;
beforeAll(async () => {
  platform = await startArmPlatform();
  own = new CliVault(platform, 'sound-vault', VM);
});
afterAll(() => platform?.stop());

/** The vault's container, as the storage has it. */
async function container(): Promise<ContainerClient> {
  const { blob, account, key } = platform.endpoints.storage[0]!;
  const credential = key === undefined ? new AnonymousCredential() : new StorageSharedKeyCredential(account, key);
  const { out } = await own.strata('vault', 'costs', ...own.options, '--json');
  const name = /"containerName": ?"([^"]+)"/.exec(out)![1]!;
  return new ContainerClient(`${blob}/${name}`, credential);
}

it('finds damage by name, heals what the disk still has, and explains every byte', { timeout: 300_000 }, async () => {
  const os = await makeDisk(platform, 'stratadisks1', BLOBS[0]!, 64 * 2 ** 20, [
    { offset: 0, bytes: noise(160 * BLOCK, 'first') },
  ]);
  await own.create();
  await own.protect(await makeVm(platform, VM, { os: os.url }));
  const first = await own.backUp();
  const sound = await own.strata('vault', 'verify', ...own.options, '--deep', 'all', '--drill', 'latest', '--wait');
  expect(sound.exit, sound.out + sound.err).toBe(0);

  // One byte of a block in a pack.
  const vault = await container();
  const names = (await Array.fromAsync(vault.listBlobsFlat())).map(({ name }) => name);
  const pack = names.find((name) => name.endsWith('.pack'))!;
  const blob = vault.getBlockBlobClient(pack);
  const bytes = await blob.downloadToBuffer();
  bytes[16 + 5 * 16 * BLOCK + 3 * BLOCK]! ^= 1;
  await blob.upload(bytes, bytes.length);
  const found = await own.strata('vault', 'verify', ...own.options, '--deep', 'all', '--wait');
  expect(found.exit).toBe(1);
  expect(found.out).toContain(pack);
  expect(found.out).toContain(first);

  // The next backup has not changed that block, and writes it again.
  await os.uploadPages(noise(BLOCK, 'second'), 0, BLOCK);
  const image = await imageOf(os);
  const second = await own.backUp();
  await dropSnapshots();
  expect(await own.restored(second, BLOBS)).toEqual([image]);
  expect((await own.restore(first)).errors.join()).toContain(pack);

  const cleaned = await own.strata('vault', 'clean-up', ...own.options, '--wait');
  expect(cleaned.exit, cleaned.out + cleaned.err).toBe(0);
  const costs = await own.strata('vault', 'costs', ...own.options, '--listing', '--json');
  const listed = (await Array.fromAsync(vault.listBlobsFlat())).map(({ properties }) => properties.contentLength!);
  const sum = listed.reduce((total, size) => total + size, 0);
  expect(JSON.parse(costs.out)).toMatchObject({
    properties: { bytes: sum, listing: { bytes: sum, unexplainedBytes: 0 } },
  });
});

/** Deletes all snapshots behind the vault's back, so that points can only come from the vault. */
async function dropSnapshots(): Promise<void> {
  const disks = platform.blobs('stratadisks1').getContainerClient('vhds');
  for await (const { name, snapshot } of disks.listBlobsFlat({ includeSnapshots: true }))
    if (name === BLOBS[0] && snapshot !== undefined) await disks.getBlobClient(name).withSnapshot(snapshot).delete();
}
