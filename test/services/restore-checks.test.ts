import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { encodeFrame } from '../../shared/format/frame.ts';
import type { RestoreTargets } from '../../shared/disk/restore-targets.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { type World, VAULT, createWorld } from '../support/world.ts';

/* A restore believes neither the vault nor the target: what it read is compared with the hashes, and so is what then stands on the disk. */

const B = BLOCK_BYTES;

/** Bytes that do not compress: their frames are stored raw, without a checksum of zstd's own. */
const noise = (blocks: number): Buffer =>
  Buffer.concat(Array.from({ length: (blocks * B) / 32 }, (_, i) => createHash('sha256').update(`${i}`).digest()));

async function backedUp(wrap?: (ports: Ports) => Ports): Promise<World> {
  const world = await createWorld(wrap === undefined ? {} : { wrap });
  const [disk] = await world.createVm('vm', [6 * B]);
  await world.protect('vm');
  await world.disks.write(disk!, B, noise(4));
  expect((await world.backup('vm')).status).toBe('Completed');
  return world;
}

const withTargets =
  (change: (real: RestoreTargets) => Partial<RestoreTargets>) =>
  (ports: Ports): Ports => ({ ...ports, targets: { ...ports.targets, ...change(ports.targets) } });

async function restore(world: World, tier: 'snapshot' | 'vault') {
  const [row] = await world.points('vm');
  if (tier === 'vault')
    for (const { url, snapshot } of row!.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  const { job } = await world.restore('vm', row!.point);
  const left = world.disks.urls().filter((url) => url.includes('restored'));
  return { status: job.status, codes: job.errors.map(({ code }) => code), left };
}

const REFUSED = { status: 'Failed', codes: ['RestoreVerificationFailed'], left: [] };

it('a flipped bit in a raw frame is found by its hash', async () => {
  const world = await backedUp();
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  const [name, pack] = [...blobs].find(([each]) => each.endsWith('.pack'))!;
  const body = pack.body.slice();
  body[5000]! ^= 1;
  blobs.set(name, { ...pack, body });
  expect(await restore(world, 'vault')).toEqual({ status: 'Failed', codes: ['PackCorrupt'], left: [] });
});

it('a sound frame of other blocks is found by their hashes, and laid to the vault', async () => {
  const world = await createWorld();
  const [disk] = await world.createVm('vm', [6 * B]);
  await world.protect('vm');
  await world.disks.write(disk!, B, Buffer.alloc(B, 7));
  expect((await world.backup('vm')).status).toBe('Completed');
  const [own, other] = [7, 8].map((value) => Buffer.from(encodeFrame(Buffer.alloc(B, value)).bytes));
  expect(own!.length).toBe(other!.length);
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  const [name, stored] = [...blobs].find(([, { body }]) => Buffer.from(body).includes(own!))!;
  const body = Buffer.from(stored.body);
  other!.copy(body, body.indexOf(own!));
  blobs.set(name, { ...stored, body });
  expect(await restore(world, 'vault')).toEqual({ status: 'Failed', codes: ['PackCorrupt'], left: [] });
});

describe.each(['snapshot', 'vault'] as const)('restored from the %s', (tier) => {
  it('a disk that kept everything is handed over', async () => {
    expect(await restore(await backedUp(), tier)).toMatchObject({ status: 'Completed', codes: [] });
  });

  it('a write that never arrived is found', async () => {
    const world = await backedUp(
      withTargets((real) => ({
        write: (target, offset, body) => (offset >= 4 * B ? Promise.resolve() : real.write(target, offset, body)),
      })),
    );
    expect(await restore(world, tier)).toEqual(REFUSED);
  });

  it('no write having arrived at all is found', async () => {
    expect(await restore(await backedUp(withTargets(() => ({ write: () => Promise.resolve() }))), tier)).toEqual(
      REFUSED,
    );
  });

  it('a write that arrived changed is found', async () => {
    const change = (body: Uint8Array): Uint8Array => {
      const copy = Uint8Array.from(body);
      copy[copy.length - 1]! ^= 1;
      return copy;
    };
    const world = await backedUp(
      withTargets((real) => ({ write: (target, offset, body) => real.write(target, offset, change(body)) })),
    );
    expect(await restore(world, tier)).toEqual(REFUSED);
  });

  it('bytes where there should be none are found', async () => {
    const world = await backedUp(
      withTargets((real) => ({
        async write(target, offset, body) {
          await real.write(target, offset, body);
          await real.write(target, 0, Buffer.alloc(512, 1));
        },
      })),
    );
    expect(await restore(world, tier)).toEqual(REFUSED);
  });

  it('zeros where there should be none are no harm', async () => {
    const world = await backedUp(
      withTargets((real) => ({
        async write(target, offset, body) {
          await real.write(target, offset, body);
          await real.write(target, 0, Buffer.alloc(512));
        },
      })),
    );
    expect(await restore(world, tier)).toMatchObject({ status: 'Completed', codes: [] });
  });
});

const REFUSAL = new BackupError('AuthorizationFailed', 'Strata has no right to this group');

it('a restore to where Strata has no right ends at once, and frees the point', async () => {
  const refuse = () => Promise.reject(REFUSAL);
  const world = await backedUp(withTargets(() => ({ create: refuse, discard: refuse })));
  const [row] = await world.points('vm');
  const { job } = await world.restore('vm', row!.point);
  expect([job.status, job.errors.map(({ code }) => code)]).toEqual(['Failed', ['AuthorizationFailed']]);
  expect((await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row.pins).toEqual([]);
});

it('a target that cannot be taken away keeps no sweep from the rest of the folder', async () => {
  let refusal: BackupError | undefined;
  const world = await backedUp(
    withTargets((real) => ({
      write: () => Promise.reject(REFUSAL),
      discard: (target, job) => (refusal === undefined ? real.discard(target, job) : Promise.reject(refusal)),
    })),
  );
  const [row] = await world.points('vm');
  expect((await world.restore('vm', row!.point)).job.status).toBe('Failed');
  const names = () => [...world.vaults.blobs(world.vaults.containerNames()[0]!).keys()];
  const container = await world.ports.vaults.open(world.vaults.containerNames()[0]!);
  const plan = names().find((name) => name.includes('/plans/'))!;
  // Behind the plan in the order of names.
  const stray = `${plan.slice(0, plan.indexOf('/plans/'))}/regions/zz/0.${'f'.repeat(16)}.layer`;
  await container.put(stray, Buffer.from('x'));
  refusal = new BackupError('StorageUnavailable', 'the account of the targets is gone');
  await world.sweep();
  expect(names()).toContain(plan);
  expect(names()).not.toContain(stray);
  refusal = undefined;
  await world.sweep();
  expect(names()).not.toContain(plan);
});
