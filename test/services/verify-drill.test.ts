import { describe, expect, it } from 'vitest';
import { withdrawJob } from '../../shared/services/jobs.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { VAULT } from '../support/world.ts';
import { KEY, letPass, until, vaultOnly } from './stage.ts';
import { ALL, PACKS, findings, harm, smallVault, takeSteps, verify } from './verify-stage.ts';

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

  it('whose last units were lost ends all the same: the watch has them sent again', async () => {
    const { world } = await smallVault();
    const jobId = await startVerify(world.ports, VAULT, KEY, { deepBytes: 0, drill: 'latest' }, true);
    const drill = async () => (await world.job(jobId)).verify!.drill!;
    // All has been restored, and what compares it has been sent, when it is lost.
    while ((await drill()).sent !== true) await runStep(world.ports, (await until(world, 'finish-verify')).step);
    expect(takeSteps(world, 'verify-unit')).not.toEqual([]);
    // Both jobs go on asking meanwhile, and the restore's asking is a sign of life.
    await letPass(world, 20 * 60_000);
    expect(await world.job(jobId)).toMatchObject({ status: 'InProgress' });
    expect(await watchJobs(world.ports)).toBe(1);
    await letPass(world, 5 * 60_000);
    expect(await world.job(jobId)).toMatchObject({ status: 'Completed', errors: [] });
    expect(await drill()).toMatchObject({ compared: true });
    expect(await world.job((await drill()).jobId)).toMatchObject({ status: 'Completed', errors: [] });
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
