import { expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed } from '../support/gated-ports.ts';
import { leftovers, ownedBlocks } from '../support/vault-map.ts';
import { VAULT } from '../support/world.ts';
import { REGION, compact, sparse } from './compact-stage.ts';
import { KEY, container, vaultOnly } from './stage.ts';

/*
 * A compaction is run once to see the calls that handlers make of their ports. Then the handler is killed before each call that changes
 * something (a handler that dies anywhere between two of them leaves the same behind), and the answer to each of these calls, and to
 * each read of the vault, is lost once while the handler lives on. The message comes again, the watch looks after the rest.
 */

const CHANGES = /\.(put|assemble|delete|insert|replace|upsert|remove|send)$/;

async function crashAt(at: number, moment: CrashGate['moment']): Promise<CrashGate> {
  const gate = new CrashGate();
  const onFailure = (error: unknown): void => {
    if (!(error instanceof Killed) && !isBackupError(error)) throw error;
    gate.revive();
  };
  const { world, images, allow } = await sparse(1, { wrapHandlers: crashing(gate), onFailure });
  const before = ownedBlocks(container(world), REGION);
  gate.calls = 0;
  gate.trace.length = 0;
  gate.at = at;
  gate.moment = moment;
  allow();
  const job = await compact(world);
  await world.drain();
  allow({ liveBelow: 0 });
  await world.settle();
  expect((await world.job(job)).status).toBe('Completed');
  expect((await world.ports.catalog.items.get(VAULT, KEY))!.row).not.toHaveProperty('mergeJob');
  expect(ownedBlocks(container(world), REGION)).toEqual(before);
  await world.sweep();
  expect(leftovers(container(world))).toEqual([]);
  // The point whose layer was written anew.
  await vaultOnly(world);
  const [point] = [...images.keys()];
  const { disks } = await world.restore('vm', point!);
  expect(Buffer.compare(disks[0]!, images.get(point!)!)).toBe(0);
  return gate;
}

it('a compaction killed at any call loses nothing and comes to its end', { timeout: 120_000 }, async () => {
  const { trace } = await crashAt(0, 'before');
  expect(trace).toContain('vault.assemble');
  for (const [i, call] of trace.entries()) {
    const changes = CHANGES.test(call);
    if (!changes && !call.startsWith('vault.')) continue;
    for (const moment of changes ? (['before', 'lost'] as const) : (['lost'] as const)) {
      await crashAt(i + 1, moment).catch((cause: unknown) => {
        throw new Error(`killed ${moment} call ${i + 1} (${call})`, { cause });
      });
    }
  }
});
