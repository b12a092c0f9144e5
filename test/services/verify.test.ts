import { describe, expect, it } from 'vitest';
import type { FindingRow } from '../../shared/catalog/finding-row.ts';
import { LEAST_COST_BYTES } from '../../shared/domain/findings.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { endJob } from '../../shared/services/end-job.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startVerify, verifySample } from '../../shared/services/verify.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { KEY, block, vaultOnly } from './stage.ts';
import { ALL, PACKS, findings, harm, smallVault, takeSteps, verify } from './verify-stage.ts';

/* What a verification reads and finds, and what it leaves behind. */

async function unitRows(world: World): Promise<number> {
  let rows = 0;
  for await (const _ of world.ports.catalog.units.listAll()) rows++;
  return rows;
}

describe('a sound vault', () => {
  it('gives no finding, and is left as it was', async () => {
    const vault = await smallVault();
    const before = [...vault.blobs.keys()];
    const job = await verify(vault.world, ALL);
    expect(job).toMatchObject({ operation: 'Verify', status: 'Completed', errors: [] });
    expect(job.bag).toMatchObject({ Findings: '0', 'Unnamed Objects': '0', 'Regions Checked': '2' });
    expect(await findings(vault)).toEqual([]);
    expect([...vault.blobs.keys()]).toEqual(before);
    expect(await unitRows(vault.world)).toBe(0);
    const item = (await vault.world.ports.catalog.items.get(VAULT, KEY))!.row;
    expect(item).toMatchObject({ pins: [] });
    expect(item.verifyJob).toBeUndefined();
  });

  it('objects that nobody names are counted, and are no findings', async () => {
    const vault = await smallVault();
    const [slab] = [...vault.blobs].find(([name]) => name.endsWith('.slab'))!;
    vault.blobs.set(slab.replace(/\.[0-9a-f]{16}\.slab$/, '.00000000deadbeef.slab'), { body: block(1), summary: {} });
    expect((await verify(vault.world)).bag).toMatchObject({ Findings: '0', 'Unnamed Objects': '1' });
  });
});

describe('the inventory', () => {
  it('finds counts that are not those of the manifest, without reading', async () => {
    const vault = await smallVault({}, PACKS);
    const [name, blob] = [...vault.blobs].find(([each]) => each.endsWith('.layer'))!;
    vault.blobs.set(name, { ...blob, summary: { ...blob.summary, data: '1' } });
    await verify(vault.world, { deepBytes: 0 });
    expect(await findings(vault)).toMatchObject([{ kind: 'index', object: name, points: [], runs: [] }]);
  });

  it('finds what is gone or cut short, with the points that it touches, without reading', async () => {
    const vault = await smallVault({}, PACKS);
    for (const [name, blob] of [...vault.blobs].filter(([each]) => each.endsWith('.layer'))) {
      for (const body of [undefined, blob.body.subarray(0, 100)]) {
        if (body === undefined) vault.blobs.delete(name);
        else vault.blobs.set(name, { ...blob, body });
        await verify(vault.world, { deepBytes: 0 });
        const quick = await findings(vault);
        expect(quick).toMatchObject([{ kind: 'layer', object: name }]);
        await verify(vault.world);
        expect((await findings(vault)).map(({ points, object }) => ({ points, object }))).toEqual([
          { points: quick[0]!.points, object: name },
        ]);
        vault.blobs.set(name, blob);
        await verify(vault.world);
        expect(await findings(vault)).toEqual([]);
      }
    }
  });
});

describe('how much is read', () => {
  it('as much as the budget buys, and those that waited longest first', async () => {
    const world = await createWorld({ regionBytes: 2 * BLOCK_BYTES });
    const [disk] = await world.createVm('vm', [10 * BLOCK_BYTES]);
    await world.protect('vm');
    await world.disks.write(disk!, 0, block(1, 10));
    await world.backup('vm');
    const partition = `${world.vaults.containerNames()[0]}|${(await world.chain('vm')).item}`;
    const checked = async (): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { key, row } of world.ports.catalog.checks.list(partition))
        keys.push(`${key.split('|')[1]}@${row.checkedAt}`);
      return keys;
    };
    const regions = (keys: readonly string[]): string[] => keys.map((key) => key.slice(0, 6));
    await verify(world, { deepBytes: 0 });
    expect(await checked()).toEqual([]);
    const seen: string[][] = [];
    for (let run = 0; run < 4; run++) {
      const before = new Set(await checked());
      expect((await verify(world, { deepBytes: 2 * LEAST_COST_BYTES })).bag).toMatchObject({ 'Regions Checked': '2' });
      seen.push(regions((await checked()).filter((key) => !before.has(key))));
    }
    expect(seen).toEqual([
      ['000000', '000001'],
      ['000002', '000003'],
      ['000000', '000004'],
      ['000001', '000002'],
    ]);
  });

  it('a region with a finding is looked at again at once', async () => {
    const vault = await smallVault({}, PACKS);
    const { mend } = harm(vault, /000001\..*\.pack$/);
    await verify(vault.world);
    expect(await findings(vault)).toHaveLength(1);
    mend();
    // Region 0 has waited longer by now.
    await verify(vault.world, { deepBytes: 1 });
    expect(await findings(vault)).toEqual([]);
    const rows: FindingRow[] = [];
    for await (const { row } of vault.world.ports.catalog.findings.list(vault.partition)) rows.push(row);
    expect(rows).toMatchObject([{ kind: 'blocks', healedAt: expect.any(Number) }]);
    vault.world.clock.advance(31 * DAY_MS);
    await verify(vault.world, { deepBytes: 0 });
    for await (const _ of vault.world.ports.catalog.findings.list(vault.partition))
      throw new Error('it is kept for ever');
  });

  it('when a disk was read is forgotten with its last point, and not before', async () => {
    const world = await createWorld();
    const sizes = [6 * BLOCK_BYTES, 9 * BLOCK_BYTES];
    const [os, data] = await world.createVm('vm', sizes);
    await world.protect('vm');
    // Of the third region of the data disk no layer speaks: only the comparison with the snapshot reads it.
    for (const disk of [os!, data!]) await world.disks.write(disk, 0, block(1, 6));
    await world.backup('vm', world.clock.now() + DAY_MS);
    await verify(world);
    const { row: item } = (await world.ports.catalog.items.get(VAULT, KEY))!;
    const partition = pointsPartition(world.vaults.containerNames()[0]!, item.itemId);
    const checked = async (): Promise<number[]> => {
      const regions = new Map<string, number>();
      for await (const { key } of world.ports.catalog.checks.list(partition)) {
        const disk = key.split('|')[0]!;
        regions.set(disk, (regions.get(disk) ?? 0) + 1);
      }
      return [...regions.values()].sort((a, b) => a - b);
    };
    expect(await checked()).toEqual([2, 3]);
    const vm = (await world.compute.virtualMachine(item.vmResourceId))!;
    world.compute.put({ ...vm, disks: vm.disks.slice(0, 1) });
    world.clock.advance(60_000);
    await world.backup('vm', world.clock.now() + 90 * DAY_MS);
    await vaultOnly(world); // there is nothing to compare with any more
    await verify(world);
    expect(await checked()).toEqual([2, 3]);
    world.clock.advance(5 * DAY_MS);
    await world.cleanUp();
    expect(await world.points('vm')).toHaveLength(1);
    await verify(world);
    expect(await checked()).toEqual([2]);
  });

  it('a finding stays for as long as nobody has looked again', async () => {
    const vault = await smallVault({}, PACKS);
    const { mend } = harm(vault, /000001\..*\.pack$/);
    await verify(vault.world);
    mend();
    await verify(vault.world, { deepBytes: 0 });
    expect(await findings(vault)).toHaveLength(1);
  });

  it('every night a little, of items that have something in the vault, one job at a time', async () => {
    const world = await createWorld();
    const [disk] = await world.createVm('vm', [6 * BLOCK_BYTES]);
    await world.protect('vm');
    const jobs = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { row } of world.ports.catalog.jobs.list(VAULT))
        if (row.operation === 'Verify') found.push(row.status);
      return found;
    };
    await verifySample(world.ports);
    await world.drain();
    expect(await jobs()).toEqual([]);
    await world.disks.write(disk!, 0, block(1, 5));
    await world.backup('vm');
    await startVerify(world.ports, VAULT, KEY, {}, true);
    await verifySample(world.ports);
    await expect(startVerify(world.ports, VAULT, KEY, {}, true)).rejects.toMatchObject({
      code: 'BMSUserErrorObjectLocked',
    });
    const [nightly] = takeSteps(world, 'verify-item');
    await runStep(world.ports, nightly!);
    await world.drain();
    expect(await jobs()).toEqual(['Completed']);
    await verifySample(world.ports);
    await world.drain();
    expect(await jobs()).toEqual(['Completed', 'Completed']);
  });
});

describe('while others work', () => {
  it('what is merged away between plan and look is no damage', async () => {
    const vault = await smallVault();
    const { world, disk } = vault;
    for (const at of [0, 1, 2]) {
      await world.disks.write(disk, at * BLOCK_BYTES, block(40 + at));
      await world.backup('vm', world.clock.now() + DAY_MS);
    }
    await world.backup('vm', world.clock.now() + 90 * DAY_MS);
    await startVerify(world.ports, VAULT, KEY, ALL, true);
    const plan = world.queue.take()!;
    await runStep(world.ports, plan.step);
    const units = takeSteps(world, 'verify-unit');
    const finish = takeSteps(world, 'finish-verify');
    expect(units.length).toBeGreaterThan(2);
    const before = new Set(vault.blobs.keys());
    world.clock.advance(40 * DAY_MS);
    await world.cleanUp();
    const after = new Set(vault.blobs.keys());
    expect([...before].filter((name) => !after.has(name) && /\.(slab|layer)$/.test(name)).length).toBeGreaterThan(1);
    for (const step of [...units, ...units]) await runStep(world.ports, step);
    for (const step of finish) await runStep(world.ports, step);
    await world.drain();
    expect(await findings(vault)).toEqual([]);
  });

  it('a late twin of a unit leaves nothing behind', async () => {
    const vault = await smallVault();
    const { world } = vault;
    await startVerify(world.ports, VAULT, KEY, ALL, true);
    await runStep(world.ports, world.queue.take()!.step);
    const units = takeSteps(world, 'verify-unit');
    for (const step of units) await world.ports.queue.send(step);
    await world.drain();
    for (const step of units) await runStep(world.ports, step);
    expect(await unitRows(world)).toBe(0);
  });

  it('a unit during which its job ends takes its mark away again', async () => {
    const vault = await smallVault();
    const { world } = vault;
    const jobId = await startVerify(world.ports, VAULT, KEY, ALL, true);
    await runStep(world.ports, world.queue.take()!.step);
    const { units } = world.ports.catalog;
    const upsert: typeof units.upsert = async (...row) => {
      await endJob(world.ports, { vault: VAULT, jobId }, 'Failed');
      return units.upsert(...row);
    };
    const ports = { ...world.ports, catalog: { ...world.ports.catalog, units: { ...units, upsert } } };
    for (const step of takeSteps(world, 'verify-unit')) await runStep(ports, step);
    expect(await unitRows(world)).toBe(0);
  });

  it('a job that ends in the middle gives back what it holds', async () => {
    const vault = await smallVault();
    const { world } = vault;
    const jobId = await startVerify(world.ports, VAULT, KEY, { ...ALL, drill: 'latest' }, true);
    const urls = world.disks.urls();
    const before = [...vault.blobs.keys()];
    await runStep(world.ports, world.queue.take()!.step);
    await endJob(world.ports, { vault: VAULT, jobId }, 'Failed');
    await world.drain();
    await world.watch();
    expect(await world.job(jobId)).toMatchObject({ status: 'Failed' });
    expect((await world.ports.catalog.items.get(VAULT, KEY))!.row).toMatchObject({ pins: [] });
    expect(world.disks.urls()).toEqual(urls);
    expect(await unitRows(world)).toBe(0);
    await world.sweep();
    expect([...vault.blobs.keys()]).toEqual(before);
  });
});
