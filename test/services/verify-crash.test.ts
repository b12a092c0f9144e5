import { expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { type CrashGate, OperationGate, crashing } from '../support/crash.ts';
import { Killed } from '../support/gated-ports.ts';
import { VAULT } from '../support/world.ts';
import { KEY } from './stage.ts';
import { ONE, findings, smallVault, verify } from './verify-stage.ts';

/*
 * A verification with a drill, of a vault with one damaged object. It is run once to count the calls that its handlers make of their
 * ports, then for each call with the handler killed right before it, right after it, and with only the answer lost. In the end
 * both jobs have ended, the one finding is there, every region counts as checked, and nothing is left over.
 */

async function verifyAt(at: number, moment: CrashGate['moment']): Promise<OperationGate> {
  const gate = new OperationGate();
  const onFailure = (error: unknown): void => {
    if (!(error instanceof Killed) && !isBackupError(error)) throw error;
    gate.revive();
  };
  const vault = await smallVault({ wrapHandlers: crashing(gate), onStep: gate.onStep, onFailure }, ONE);
  const { world, blobs } = vault;
  const [name, blob] = [...blobs].findLast(([each]) => each.endsWith('.slab'))!;
  const body = Uint8Array.from(blob.body);
  body[body.length - 1]! ^= 0x40;
  blobs.set(name, { ...blob, body });
  const before = [...blobs.keys()];
  const urls = world.disks.urls();

  gate.watch(
    ['plan-verify', 'verify-unit', 'finish-verify', 'plan-restore', 'restore-unit', 'finish-restore'],
    at,
    moment,
  );
  const { jobId } = await verify(world, { deepPercent: 100, drill: 'latest' });
  await world.settle();
  const job = await world.job(jobId);
  expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'VaultDamaged' }] });
  expect(job.bag).toMatchObject({ Findings: '1', 'Regions Checked': '2', 'Drill Seconds': expect.any(String) });
  expect(await world.job(job.verify!.drill!.jobId)).toMatchObject({ status: 'Completed', errors: [] });
  expect(await findings(vault)).toMatchObject([{ kind: 'index', object: name }]);
  let checks = 0;
  for await (const _ of world.ports.catalog.checks.listAll()) checks++;
  expect(checks).toBe(2);

  expect(world.disks.urls()).toEqual(urls);
  const item = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
  expect({ pins: item.pins, verifyJob: item.verifyJob }).toEqual({ pins: [], verifyJob: undefined });
  for await (const { key } of world.ports.catalog.units.listAll()) expect(`unit ${key}`).toBe('gone');
  await world.sweep();
  expect([...blobs.keys()]).toEqual(before);
  return gate;
}

it('a verification killed at any call finds the same, ends, and leaves nothing over', async () => {
  const { calls, trace } = await verifyAt(0, 'before');
  expect(calls).toBeGreaterThan(100);
  for (let at = 1; at <= calls; at++) {
    for (const moment of ['before', 'after', 'lost'] as const) {
      await verifyAt(at, moment).catch((cause: unknown) => {
        throw new Error(`killed ${moment} call ${at} (${trace[at - 1]})`, { cause });
      });
    }
  }
});
