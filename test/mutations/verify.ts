import type { Mutation } from './mutation.ts';

const VERIFIED = 'services/verify.test.ts';
const COMPARED = 'services/verify-compare.test.ts';
const DRILLED = 'services/verify-drill.test.ts';
const HEALED = 'services/verify-heal.test.ts';
const DAMAGED = 'services/verify-damage.test.ts';
const FOUND = 'domain/findings.property.test.ts';

/** What would let damage pass, call sound things damaged, or leave a drill's disks behind. */
export const VERIFY: readonly Mutation[] = [
  {
    name: 'verify: blocks are not compared with their hashes',
    file: 'shared/services/verify-blocks.ts',
    find: 'if (!actual.equals(expected))',
    replace: 'if (actual.length !== expected.length)',
    tests: [DAMAGED],
    why: 'a pack in the place of another is called sound',
  },
  {
    name: 'verify: a pack that is gone is passed over',
    file: 'shared/services/verify-blocks.ts',
    find: "return { pack: pack.name, code: 'VaultObjectMissing', message: `${pack.name} is gone`, runs };",
    replace: 'return runs.length < 0 ? checkTable(pack, hashes) : undefined;',
    tests: [DAMAGED],
    why: 'nobody is told of blocks that no restore can read',
  },
  {
    name: 'verify: frames are looked for in the first pack',
    file: 'shared/services/verify-blocks.ts',
    find: 'byPack[frame.pack]!.push',
    replace: 'byPack[0]!.push',
    tests: [DAMAGED, VERIFIED],
    why: 'sound blocks are called lost, lost ones sound',
  },
  {
    name: 'verify: what a merge took away counts as damage',
    file: 'shared/services/verify-region.ts',
    find: 'if (newest.seq === seen.seq) return look.found;',
    replace: 'if (newest.seq >= seen.seq) return look.found;',
    tests: [VERIFIED],
    why: 'false alarms, until nobody listens any more',
  },
  {
    name: 'verify: only blocks that the vault has are compared with the snapshot',
    file: 'shared/services/verify-compare.ts',
    find: 'if (!expected.of(block).equals(found.of(block)))',
    replace: 'if (expected.has(block) && !expected.of(block).equals(found.of(block)))',
    tests: [COMPARED],
    why: 'a source that conceals a whole region is believed',
  },
  {
    name: 'verify: a point does not show what it wrote itself',
    file: 'shared/domain/findings.ts',
    find: 'if (point < owner) continue;',
    replace: 'if (point <= owner) continue;',
    tests: [FOUND, DAMAGED],
    why: 'a point that cannot be restored is not named',
  },
  {
    name: 'verify: later layers hide nothing',
    file: 'shared/domain/findings.ts',
    find: 'left = without(left, above[next]!.extents ?? []);',
    replace: 'left = without(left, []);',
    tests: [FOUND, DAMAGED],
    why: 'sound points are called damaged, and blocks are written again each night',
  },
  {
    name: 'verify: those that were read last come first',
    file: 'shared/domain/findings.ts',
    find: '(a.checkedAt ?? -Infinity) - (b.checkedAt ?? -Infinity)',
    replace: '(b.checkedAt ?? -Infinity) - (a.checkedAt ?? -Infinity)',
    tests: [FOUND, VERIFIED],
    why: 'most of the vault is never read',
  },
  {
    name: 'verify: suspects may use the whole budget',
    file: 'shared/domain/findings.ts',
    find: 'if (index > 0 && spent >= upTo) return;',
    replace: 'if (spent >= upTo) return;',
    tests: [FOUND],
    why: 'one damaged region that is larger than the budget keeps all others from being read',
  },
  {
    name: 'verify: what has just been found is healed',
    file: 'shared/services/findings.ts',
    find: 'row.seenAt > since || row.seenBy === by',
    replace: 'row.seenAt < since',
    tests: [VERIFIED, DAMAGED],
    why: 'findings vanish in the run that made them',
  },
  {
    name: 'verify: a finding heals though nobody has looked',
    file: 'shared/services/verify-finish.ts',
    find: "if (row.kind !== 'view') return wasRead;",
    replace: "if (row.kind !== 'view') return true;",
    tests: [VERIFIED],
    why: 'a night that reads another region calls the damaged one sound',
  },
  {
    name: 'verify: findings are forgotten by backups at once',
    file: 'shared/services/findings.ts',
    find: 'after !== undefined && point > after',
    replace: 'after !== undefined && point >= after',
    tests: [HEALED],
    why: 'damage is taken for covered by the very layer that is damaged, and never healed',
  },
  {
    name: 'verify: a drill is restored from its snapshots',
    file: 'shared/services/plan-restore.ts',
    find: 'job.restore.verifyJob === undefined ? await tierOf(ports, partition, row)',
    replace: 'job.restore !== undefined ? await tierOf(ports, partition, row)',
    tests: [DRILLED],
    why: 'the drill succeeds on a vault that nobody can restore from',
  },
  {
    name: 'verify: a drill waits for a job that has ended',
    file: 'shared/services/verify-drill.ts',
    find: "verify?.status !== 'InProgress' || verify.verify?.drill?.compared === true",
    replace: 'verify?.verify?.drill?.compared === true',
    tests: [VERIFIED],
    why: 'the disks of the drill are kept, and paid for, for two weeks',
  },
  {
    name: "verify: a drill's end is taken for a hand-over",
    file: 'shared/services/end-job.ts',
    find: "row.outcome === 'Completed' && !isDrill",
    replace: "row.outcome === 'Completed' && isDrill !== undefined",
    tests: [DRILLED],
    why: 'neither the drill nor its disks ever go',
  },
  {
    name: 'verify: a drill that waits for its units counts as alive',
    file: 'shared/services/verify-finish.ts',
    find: "drill.state === 'restoring' || (isRestored && missing.length === 0))",
    replace: "drill.state === 'restoring' || isRestored)",
    tests: [DRILLED],
    only: 'whose last units were lost',
    why: 'units that were lost are never sent again, and the verification and its disks stay until it is too old',
  },
  {
    name: 'verify: a late unit leaves its mark',
    file: 'shared/services/verify-unit.ts',
    find: '(await runningJob(ports, address, step.attempt)) === undefined',
    replace: 'step.unit < 0',
    tests: [VERIFIED],
    why: 'rows that nobody ever takes away',
  },
];
