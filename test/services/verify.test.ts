import { describe, expect, it } from 'vitest';
import type { FindingRow } from '../../shared/catalog/finding-row.ts';
import type { DiskId } from '../../shared/domain/ids.ts';
import { LEAST_COST_BYTES } from '../../shared/domain/findings.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { endJob } from '../../shared/services/end-job.ts';
import { withdrawJob } from '../../shared/services/jobs.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { damageOf, openFindings, recordFailure } from '../../shared/services/findings.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startVerify, verifySample } from '../../shared/services/verify.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { letPass } from './stage.ts';
import { ALL, KEY, type SmallVault, PACKS, SLABS, findings, smallVault, vaultOnly, verify } from './verify-stage.ts';

const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * BLOCK_BYTES, fill);

/** Flips a bit in the middle of the only object whose name fits; answers its name, and what mends it. */
function harm({ blobs }: Pick<SmallVault, 'blobs'>, pattern: RegExp): { name: string; mend: () => void } {
  const [name, blob] = [...blobs].findLast(([each]) => pattern.test(each))!;
  const body = Uint8Array.from(blob.body);
  body[body.length >> 1]! ^= 0x40;
  blobs.set(name, { ...blob, body });
  return { name, mend: () => void blobs.set(name, blob) };
}

async function unitRows(world: World): Promise<number> {
  let rows = 0;
  for await (const _ of world.ports.catalog.units.listAll()) rows++;
  return rows;
}

/** Takes the messages of a verification out of the queue, so that something else can happen before them. */
function takeSteps(world: World, kind: Step['step']): Step[] {
  const taken: Step[] = [];
  const others: Step[] = [];
  for (let message = world.queue.take(); message !== undefined; message = world.queue.take())
    (message.step.step === kind ? taken : others).push(message.step);
  for (const step of others) void world.ports.queue.send(step);
  return taken;
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

/** Ports whose source of changed blocks leaves the first range out: a lie by omission. */
const lying = (ports: Ports): Ports => ({
  ...ports,
  snapshots: {
    ...ports.snapshots,
    async *changed(snapshot, since, window) {
      let isFirst = true;
      for await (const range of ports.snapshots.changed(snapshot, since, window)) {
        if (!isFirst) yield range;
        isFirst = false;
      }
    },
  },
});

describe('against the living snapshot', () => {
  const lie = async (): Promise<{
    world: World;
    vault: Pick<SmallVault, 'world' | 'partition'>;
    disk: string;
    point: string;
  }> => {
    const world = await createWorld({ wrap: lying, regionBytes: 8 * BLOCK_BYTES });
    const [disk] = await world.createVm('vm', [12 * BLOCK_BYTES]);
    await world.protect('vm');
    await world.disks.write(disk!, 0, block(1, 7));
    await world.backup('vm');
    await world.disks.write(disk!, 2 * BLOCK_BYTES, block(2));
    await world.disks.write(disk!, 5 * BLOCK_BYTES, block(3));
    const { point } = await world.backup('vm');
    const partition = `${world.vaults.containerNames()[0]}|${(await world.chain('vm')).item}`;
    return { world, vault: { world, partition }, disk: disk!, point: point! };
  };

  it('a changed block that the source concealed is found, and asked for again', async () => {
    const { world, vault, point } = await lie();
    await verify(world);
    const found = await findings(vault);
    expect(found).toMatchObject([
      {
        kind: 'view',
        code: 'ViewDiffers',
        region: 0,
        runs: [{ start: 2, count: 1 }],
        points: [point],
        newestIsSound: false,
      },
    ]);
    const [row] = found;
    expect(await damageOf(world.ports, vault.partition, row!.disk as DiskId)).toEqual(
      new Map([[0, { whole: false, runs: [{ start: 2, count: 1 }] }]]),
    );
    await world.backup('vm');
    await verify(world);
    expect(await findings(vault)).toMatchObject([{ kind: 'view', points: [point], newestIsSound: true }]);
  });

  it('a region of which no layer speaks is compared too', async () => {
    const { world, vault, disk } = await lie();
    await world.disks.write(disk, 8 * BLOCK_BYTES, block(9));
    const { point } = await world.backup('vm');
    await verify(world);
    const regions = (await findings(vault))
      .filter(({ points }) => points.includes(point!))
      .map(({ region, runs }) => ({ region, runs }));
    expect(regions).toContainEqual({ region: 1, runs: [{ start: 0, count: 1 }] });
  });

  it('a drill compares what it restored', async () => {
    const { world, vault, point } = await lie();
    const urls = world.disks.urls();
    const job = await verify(world, { deepBytes: 0, drill: 'latest' });
    expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'VaultDamaged' }] });
    expect(await findings(vault)).toMatchObject([
      { kind: 'drill', region: 0, runs: [{ start: 2, count: 1 }], points: [point] },
    ]);
    expect(world.disks.urls()).toEqual(urls);
  });
});

describe('a restore drill', () => {
  it('restores from the vault, says how long it took, and leaves nothing of it', async () => {
    const vault = await smallVault();
    const urls = vault.world.disks.urls();
    const job = await verify(vault.world, { deepBytes: 0, drill: 'latest' });
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    const [point] = [...vault.images.keys()].slice(-1);
    expect(job.bag).toMatchObject({ 'Drill Recovery Point': point, 'Drill Seconds': expect.stringMatching(/^\d+$/) });
    expect(Number(job.bag['Drill Bytes'])).toBeGreaterThan(0);
    const restore = await vault.world.job(job.verify!.drill!.jobId);
    expect(restore).toMatchObject({ operation: 'Restore', status: 'Completed', errors: [], point });
    expect(restore.sources).toMatchObject([{ source: 'vault' }]);
    expect(vault.world.disks.urls()).toEqual(urls);
    await vault.world.sweep();
    expect([...vault.blobs.keys()].filter((name) => name.includes('/plans/'))).toEqual([]);
  });

  it('of an older point whose snapshots have gone', async () => {
    const vault = await smallVault();
    await vaultOnly(vault.world);
    const [point] = vault.images.keys();
    const job = await verify(vault.world, { deepBytes: 0, drill: point! });
    expect(job).toMatchObject({ status: 'Completed', bag: { 'Drill Recovery Point': point } });
  });

  it('that meets damage is a finding, and takes away what it had restored', async () => {
    const vault = await smallVault({}, PACKS);
    const { name, mend } = harm(vault, /\.pack$/);
    const urls = vault.world.disks.urls();
    const job = await verify(vault.world, { deepBytes: 0, drill: 'latest' });
    expect(job.status).toBe('CompletedWithWarnings');
    expect(job.errors.map(({ code }) => code)).toEqual(['VaultDamaged', 'DrillFailed']);
    const rows = await findings(vault);
    expect(rows).toMatchObject([{ kind: 'drill', code: 'PackCorrupt' }]);
    expect(rows[0]!.message).toContain(name);
    expect(vault.world.disks.urls()).toEqual(urls);
    mend();
    expect(await verify(vault.world, { deepBytes: 0, drill: 'latest' })).toMatchObject({ status: 'Completed' });
    expect(await findings(vault)).toEqual([]);
  });

  it('whose start was taken back by a run that died is started again by the watch', async () => {
    const { world } = await smallVault();
    const jobId = await startVerify(world.ports, VAULT, KEY, { ...ALL, drill: 'latest' }, true);
    // The run that lost the point to a merge takes its row back, right after a twin has found it and gone on.
    await runStep(world.ports, world.queue.take()!.step);
    const drill = (await world.job(jobId)).verify!.drill!;
    await withdrawJob(world.ports, { vault: VAULT, jobId: drill.jobId });
    for (let looks = 0; looks < 3; looks++) {
      await letPass(world, 20 * 60_000);
      await watchJobs(world.ports);
    }
    expect(await world.job(drill.jobId)).toMatchObject({ operation: 'Restore' });
    await world.settle();
    expect(await world.job(jobId)).toMatchObject({ status: 'Completed', errors: [] });
    expect(await world.job(drill.jobId)).toMatchObject({ status: 'Completed', errors: [] });
  });

  it('of a point that is not there is refused', async () => {
    const { world } = await smallVault();
    const drill = '00000000000000001' as never;
    await expect(startVerify(world.ports, VAULT, KEY, { drill }, true)).rejects.toMatchObject({
      code: 'UserErrorInvalidRestoreRequest',
      target: 'drill',
    });
  });
});

describe('what a backup has to write again', () => {
  it('blocks that the newest point shows; once they are covered, the finding is for old points alone', async () => {
    const vault = await smallVault({}, PACKS);
    const { world, disk, partition } = vault;
    harm(vault, /000001\..*\.pack$/);
    await verify(world);
    const [row] = await findings(vault);
    const id = row!.disk as DiskId;
    expect(row).toMatchObject({ kind: 'blocks', newestIsSound: false, name: expect.any(String), lun: -1 });
    expect(await damageOf(world.ports, partition, id)).toEqual(new Map([[1, { whole: false, runs: row!.runs }]]));
    const lost = row!.runs;
    for (const { start, count } of lost) await world.disks.write(disk, (16 + start) * BLOCK_BYTES, block(77, count));
    const image = await world.disks.read(disk, { start: 0, end: 30 * BLOCK_BYTES });
    const { point } = await world.backup('vm', world.clock.now() + 90 * DAY_MS);
    expect(await damageOf(world.ports, partition, id)).toEqual(new Map());
    expect(await findings(vault)).toMatchObject([{ newestIsSound: true, points: row!.points }]);
    await verify(world);
    expect(await findings(vault)).toMatchObject([{ newestIsSound: true, points: row!.points, runs: lost }]);
    await vaultOnly(world);
    const { disks } = await world.restore('vm', point!);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  });

  it.each([
    ['blocks in a pack', /000001\..*\.pack$/, PACKS],
    ['a layer', /000000\.[0-9a-f]{16}\.layer$/, PACKS],
    ['frames and layers in a slab', /\.slab$/, SLABS],
  ])(
    'what is lost of %s comes back with the next backup, though nothing has changed on the disk',
    async (_, pattern, shape) => {
      const vault = await smallVault({}, shape);
      const { world, disk } = vault;
      harm(vault, pattern);
      await verify(world);
      const before = await findings(vault);
      expect(before.some(({ newestIsSound }) => !newestIsSound)).toBe(true);
      const { point, status } = await world.backup('vm', world.clock.now() + 90 * DAY_MS);
      expect(status).toBe('Completed');
      await verify(world);
      const after = await findings(vault);
      expect(after.every(({ newestIsSound, points }) => newestIsSound && !points.includes(point!))).toBe(true);
      expect(after.map(({ points }) => points)).toEqual(before.map(({ points }) => points));
      const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
      await vaultOnly(world);
      const { disks } = await world.restore('vm', point!);
      expect(Buffer.compare(disks[0]!, image)).toBe(0);
    },
  );

  it('the whole region, where a layer cannot be read', async () => {
    const vault = await smallVault({}, PACKS);
    harm(vault, /000000\.[0-9a-f]{16}\.layer$/);
    await verify(vault.world);
    const [row] = await findings(vault);
    expect(row).toMatchObject({ kind: 'layer', region: 0, runs: [] });
    expect(await damageOf(vault.world.ports, vault.partition, row!.disk as DiskId)).toEqual(
      new Map([[0, { whole: true, runs: [{ start: 0, count: 16 }] }]]),
    );
  });

  it('damage that a job met is kept as it is known, and verify says the rest', async () => {
    const vault = await smallVault({}, PACKS);
    const { world, partition } = vault;
    const { name } = harm(vault, /000001\..*\.pack$/);
    const disk = {
      disk: (await world.chain('vm').then((chain) => chain.newest().then((record) => chain.manifests(record))))[0]!
        .disks[0]!.disk,
    };
    const error = new BackupError('PackCorrupt', `${name} is not what it was`, { target: name });
    const [point] = vault.images.keys();
    expect(await recordFailure(world.ports, partition, error, { disk, region: 1, point: point! })).toBe(true);
    expect(await recordFailure(world.ports, partition, new Error('else'), { disk, region: 1 })).toBe(false);
    expect(await findings(vault)).toMatchObject([{ kind: 'blocks', object: name, runs: [], points: [point] }]);
    await verify(world, { deepBytes: 1 });
    const exact = await findings(vault);
    expect(exact).toHaveLength(1);
    expect(exact[0]!.runs.length).toBeGreaterThan(0);
    world.clock.advance(1000);
    await recordFailure(world.ports, partition, error, { disk, region: 1, point: point! });
    expect(await openFindings(world.ports, partition)).toMatchObject([
      { row: { runs: exact[0]!.runs, points: exact[0]!.points } },
    ]);
  });
});
