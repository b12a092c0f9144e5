import { API } from './api.ts';
import { AUDIT } from './audit.ts';
import { BODY_SOCKETS } from './body-sockets.ts';
import { CLEAN_UP } from './clean-up.ts';
import { TURNS } from './turns.ts';
import { COMPACTION } from './compaction.ts';
import { COSTS } from './costs.ts';
import { GOING_ON } from './going-on.ts';
import { LAYOUT } from './layout.ts';
import { MIXED_DISKS } from './mixed-disks.ts';
import { PARTS } from './parts.ts';
import { MEMORY } from './memory.ts';
import { REBUILD } from './rebuild.ts';
import { RESTORE_UNITS } from './restore-units.ts';
import { RULES_1_TO_6 } from './rules-1-to-6.ts';
import { RULES_7_TO_13 } from './rules-7-to-13.ts';
import { VERIFY } from './verify.ts';
import type { Mutation } from './mutation.ts';

const CHANGES = 'services/changed-blocks.test.ts';
const WORKERS = 'services/concurrency.test.ts';
const MERGED = 'services/merge.test.ts';
const WORKED = 'services/worked-cases.test.ts';
const CHECKS = 'services/restore-checks.test.ts';
const FOLDS = 'domain/region-view.property.test.ts';
const MERGES = 'domain/merge.property.test.ts';
const RETENTION = 'domain/retention.test.ts';
const SWEEPS = 'domain/sweep.test.ts';
const LAYERS = 'format/layer-file.test.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...API,
  ...AUDIT,
  ...BODY_SOCKETS,
  ...LAYOUT,
  ...MIXED_DISKS,
  ...MEMORY,
  ...RULES_1_TO_6,
  ...RULES_7_TO_13,
  ...CLEAN_UP,
  ...TURNS,
  ...COMPACTION,
  ...COSTS,
  ...GOING_ON,
  ...PARTS,
  ...REBUILD,
  ...RESTORE_UNITS,
  ...VERIFY,
  // What a transfer writes down.
  {
    name: 'cleared extents are never written',
    file: 'shared/services/write-region.ts',
    find: 'if (hasData(i) || wounded(i)) clear(i);',
    replace: 'void i;',
    tests: [CHANGES],
    why: 'blocks that the guest discarded come back with their old bytes',
  },
  {
    name: 'zeros that were read are not written down',
    file: 'shared/services/write-region.ts',
    find: 'if (hasData(block) || wounded(block)) clear(block);',
    replace: '',
    tests: [CHANGES],
    why: 'a block overwritten with zeros comes back with its old bytes',
  },
  {
    name: 'hashes are compared with the view of the newest point but one',
    file: 'shared/services/transfer-plan.ts',
    find: 'await stacksWithin(chain, manifests, disk.disk, span)',
    replace: 'await stacksWithin(chain, manifests.slice(0, -1), disk.disk, span)',
    tests: [CHANGES],
    why: 'a block that becomes again what it was two points ago keeps the bytes of the point between',
  },
  {
    name: 'a transfer that finds its stack gone forgets what is there',
    file: 'shared/services/transfer-unit.ts',
    find: 'stacks.get(region.region) ?? { layers: [] }',
    replace: '{ layers: (stacks.get(region.region)?.layers ?? []).slice(0, -1), checkpoint: undefined }',
    tests: [WORKERS],
    why: 'blocks are dropped as equal to something that the base does not show',
  },
  {
    name: 'a lying diff is trusted',
    file: 'shared/services/choose-source.ts',
    find: 'return probe.usable ? undefined : probe.reason;',
    replace: 'return undefined;',
    tests: [CHANGES],
    why: 'on a server that cannot compare, cleared pages are never reported',
  },
  {
    name: 'a replaced disk is compared with the one that it replaced',
    file: 'shared/services/choose-source.ts',
    find: "if (!isSameLineage(base, own)) return 'the disk was replaced since the base snapshot';",
    replace: '',
    tests: [CHANGES],
    why: 'what the old disk had and the new one does not stays in the view',
  },
  {
    name: 'a provider that cannot compare after all fails the backup',
    file: 'shared/services/transfer-plan.ts',
    find: 'if (!(error instanceof UnusableDisk)) throw error;',
    replace: 'throw error instanceof UnusableDisk ? error.cause : error;',
    tests: [CHANGES],
    why: 'a disk that was overwritten is never backed up again',
  },
  {
    name: 'a base snapshot that goes meanwhile fails the backup',
    file: 'shared/services/transfer-unit.ts',
    find: "if (isBackupError(error, 'ChangeTrackingUnusable')) return planAgain(error);",
    replace: "if (isBackupError(error, 'MessageInvalid')) return planAgain(error);",
    tests: [CHANGES],
    why: 'a night without a backup, though hashes could have told the changes',
  },
  {
    name: 'blocks that were cleared in part are not read',
    file: 'shared/services/changed-blocks.ts',
    find: 'read: normalise([...written, ...partly]),',
    replace: 'read: written,',
    tests: [CHANGES],
    why: 'the cleared part keeps its old bytes',
  },
  {
    name: 'blocks that were cleared in part count as cleared',
    file: 'shared/services/changed-blocks.ts',
    find: 'const whole = without(coveredBlocks(cleared, window), written);',
    replace: 'const whole = without(touchedBlocks(cleared, window), written);',
    tests: [CHANGES],
    why: 'the part that was not cleared is lost',
  },
  {
    name: 'what hashes find is never cleared',
    file: 'shared/services/changed-blocks.ts',
    find: "cleared: disk.source === 'full' ? [] : without(stored, read)",
    replace: 'cleared: []',
    tests: [CHANGES],
    why: 'where the provider cannot compare, discarded blocks come back',
  },
  {
    name: 'a shrink is not recorded in the regions that it cuts off',
    file: 'shared/services/transfer-plan.ts',
    find: 'const cutOff = shrunk && region >= lastWhole;',
    replace: 'const cutOff = false;',
    tests: [CHANGES],
    why: 'after growing again the disk shows what was cut off',
  },
  {
    name: 'a shrink is not recorded in the blocks that it cuts off',
    file: 'shared/services/changed-blocks.ts',
    find: 'const pastEnd = without(stored, [{ start: 0, count: blocks }]);',
    replace: 'const pastEnd = without(stored, [{ start: 0, count: 1_000_000 }]);',
    tests: [CHANGES],
    why: 'after growing again the disk shows what was cut off',
  },
  {
    name: 'the block that a shrink cut in two is not looked at',
    file: 'shared/services/changed-blocks.ts',
    find: 'return [{ start: blocksIn(bytes) - 1, count: 1 }];',
    replace: 'return [];',
    tests: [CHANGES],
    why: 'after growing again the rest of the block shows its old bytes',
  },
  // Views, folds, merges.
  {
    name: 'a view takes the older of two',
    file: 'shared/domain/region-view.ts',
    find: 'of stack.toReversed()) builder',
    replace: 'of stack) builder',
    tests: [FOLDS],
    why: 'every restore shows the oldest bytes',
  },
  {
    name: 'a view shows again what a newer layer has',
    file: 'shared/domain/region-view.ts',
    find: 'const seen = subtract(layer.extents, this.#extents);',
    replace: 'const seen = [...layer.extents];',
    tests: [FOLDS],
    why: 'a point shows what its predecessor had',
  },
  {
    name: 'a view takes the hashes of hidden blocks too',
    file: 'shared/domain/region-view.ts',
    find: 'else this.#hashes.take(layer.extents, layer.hashes, seen);',
    replace: 'else this.#hashes.take(layer.extents, layer.hashes, layer.extents);',
    tests: [FOLDS],
    why: 'good bytes are refused as damaged, and changed ones dropped as equal',
  },
  {
    name: 'a fold loses cleared extents everywhere',
    file: 'shared/domain/fold.ts',
    find: 'const extents = bottom ? view',
    replace: 'const extents = view.extents.length >= 0 ? view',
    tests: [FOLDS],
    why: 'what lies below shows again where a point had cleared it',
  },
  {
    name: 'a fold is always taken for the bottom',
    file: 'shared/domain/merge.ts',
    find: 'from === 0 && !below.has(region)',
    replace: 'from === 0 && below.size >= 0',
    tests: ['domain/merge.test.ts', MERGES],
    why: 'what lies below shows again where a point had cleared it',
  },
  {
    name: 'the layers below a partial fold are overlooked',
    file: 'shared/domain/merge.ts',
    find: 'const bottom = from === 0 && ',
    replace: 'const bottom = ',
    tests: ['domain/merge.test.ts', MERGES],
    why: 'what lies below shows again where a point had cleared it',
  },
  {
    name: 'a merge goes into the next point, whether it has the disk or not',
    file: 'shared/domain/merge.ts',
    find: 'including(disk, points.slice(at + 1));',
    replace: 'including(disk, points.slice(at + 1, at + 2));',
    tests: ['domain/merge.test.ts', MERGES],
    why: 'a disk that was detached for a day loses all its blocks',
  },
  {
    name: 'a merge goes into the last point that has the disk',
    file: 'shared/domain/merge.ts',
    find: 'including(disk, points.slice(at + 1));',
    replace: 'including(disk, points.slice(at + 1)).toReversed();',
    tests: ['domain/merge.test.ts', MERGES],
    why: 'the points between lose the blocks',
  },
  {
    name: 'what a successor keeps by name is forgotten',
    file: 'shared/services/commit-merge.ts',
    find: 'const layers = fold === undefined ? kept : [...kept, fold];',
    replace: 'const layers = fold === undefined ? [] : [fold];',
    tests: [MERGED],
    why: 'regions that only the expired point had changed are lost to all later points',
  },
  {
    name: 'a fold is not put into the manifest',
    file: 'shared/services/commit-merge.ts',
    find: 'fold === undefined ? kept : [...kept, fold];',
    replace: 'fold === undefined || kept.length >= 0 ? kept : [...kept, fold];',
    tests: [WORKED],
    why: 'the successor loses what it took over',
  },
  {
    name: 'packs of a folded layer are all taken for dead',
    file: 'shared/services/reclaim.ts',
    find: '...packs.difference(used.names),',
    replace: '...packs,',
    tests: [WORKED],
    why: 'bytes that the fold still needs are deleted',
  },
  {
    name: 'a late run of a reclaim takes a later merge for its own',
    file: 'shared/services/reclaim.ts',
    find: ' && fresh.length === standing.length;',
    replace: ';',
    tests: ['services/reclaim.test.ts'],
    why: 'bytes that live points need are deleted',
  },
  // Retention.
  {
    name: 'the newest point may expire',
    file: 'shared/domain/retention.ts',
    find: 'if (point.point === newest)',
    replace: "if (point.point === ('' as PointId))",
    tests: [RETENTION],
    why: 'an item whose backups fail for long loses its last copy',
  },
  {
    name: 'the fixed end of an on-demand point is ignored',
    file: 'shared/domain/retention.ts',
    find: "if (point.trigger === 'onDemand')",
    replace: "if (point.trigger === ('' as string))",
    tests: [RETENTION],
    why: 'a point that somebody asked to keep goes with the daily ones',
  },
  {
    name: 'a point expires a moment early',
    file: 'shared/domain/retention.ts',
    find: 'if (expiry.at > nowMs)',
    replace: 'if (expiry.at > nowMs + 1)',
    tests: [RETENTION],
    why: 'retention is a promise to the millisecond',
  },
  {
    name: 'points expire without a policy in force',
    file: 'shared/domain/retention.ts',
    find: 'if (policy === undefined) return undefined;\n',
    replace: "if (policy === undefined) return { at: 0, rule: 'Daily' };\n",
    tests: [RETENTION],
    why: 'stopping protection with data retained deletes the data',
  },
  // What a commit leaves to be done.
  {
    name: 'late projections go back to an older record',
    file: 'shared/services/projection.ts',
    find: 'row.seq < record.seq',
    replace: 'row.seq !== record.seq',
    tests: [MERGED],
    why: 'rows show points as they were before a merge, with manifests that are gone',
  },
  {
    name: 'layers of disks that no later point has are not deleted',
    file: 'shared/services/reclaim.ts',
    find: '...gone.map(',
    replace: '...gone.slice(0, 0).map(',
    tests: [MERGED],
    why: 'storage is paid for what nobody can see',
  },
  // Restores.
  {
    name: 'a restore takes later points into the view',
    file: 'shared/services/plan-restore.ts',
    find: 'chain.history(record, job.point!)',
    replace: 'chain.manifests(record)',
    tests: [WORKED],
    why: 'an old point is restored with new bytes',
  },
  {
    name: 'a restore that finds its layers gone takes later points into the view',
    file: 'shared/services/newest-stacks.ts',
    find: 'chain.history(record, point)',
    replace: 'chain.manifests(record)',
    tests: [WORKERS],
    why: 'an old point is restored with new bytes',
  },
  {
    name: 'a restore does not compare what it reads with the hashes',
    file: 'shared/services/region-bytes.ts',
    find: 'if (actual?.equals(expected) === false) {',
    replace: 'if (actual.length !== expected.length) {',
    tests: [CHECKS],
    why: 'damaged packs are restored as if nothing were wrong',
  },
  {
    name: 'reading back does not compare',
    file: 'shared/services/read-back.ts',
    find: 'if (!actual.equals(expected.of(block))) throw',
    replace: 'if (actual.length === 0) throw',
    tests: [CHECKS],
    why: 'a target that mangles what it is given is handed over',
  },
  {
    name: 'reading back overlooks holes',
    file: 'shared/services/read-back.ts',
    find: 'if (expected.has(block) && seen[block] === 0) throw',
    replace: 'if (expected.has(block) && seen[block] === 2) throw',
    tests: [CHECKS],
    why: 'a write that never arrived leaves zeros that nobody notices',
  },
  // Sweeps.
  {
    name: 'a sweep does not wait',
    file: 'shared/domain/sweep.ts',
    find: '(marks.get(name) ?? nowMs) > graceMs',
    replace: '(marks.get(name) ?? 0) > graceMs',
    tests: [SWEEPS],
    why: 'what a commit is about to name is deleted before it is named',
  },
  {
    name: 'a sweep takes the objects of running jobs',
    file: 'shared/domain/sweep.ts',
    find: ' && !isInFlight(name)',
    replace: '',
    tests: [SWEEPS],
    why: 'a first backup that takes a week is deleted while it is written',
  },
  {
    name: 'a sweep keeps the mark of a name that is named again',
    file: 'shared/domain/sweep.ts',
    find: '.filter((name) => !present.has(name))',
    replace: '.filter(() => false)',
    tests: [SWEEPS],
    why: 'when the name is dropped again, its grace has run already',
  },
  // Formats.
  {
    name: 'a layer is not bound to its name',
    file: 'shared/format/layer-file.ts',
    find: "const hash = createHash('sha256').update(`${name}\\n`);",
    replace: "const hash = createHash('sha256').update(`${name.length}\\n`);",
    tests: [LAYERS],
    why: 'a swapped or stale layer file is taken for the right one',
  },
  {
    name: 'the hashes of a layer are not checked',
    file: 'shared/format/layer-file.ts',
    find: 'if (!digest(name, hashes).equals(hashesDigest)) throw',
    replace: 'if (digest(name, hashes).length === 0) throw',
    tests: [LAYERS],
    why: 'a damaged hash drops a changed block as equal',
  },
  {
    name: 'a document is not bound to its name',
    file: 'shared/format/document.ts',
    find: "createHash('sha256').update(`${name}\\n`)",
    replace: "createHash('sha256').update(`${name.length}\\n`)",
    tests: ['format/document.test.ts'],
    why: "one item's record is taken for another's",
  },
  {
    name: 'a frame table may be shorter than its pack says',
    file: 'shared/format/pack.ts',
    find: 'if (frames?.length !== frameCount) throw',
    replace: 'if (frames === undefined) throw',
    tests: ['format/pack.test.ts'],
    why: 'a salvage from packs alone misses frames',
  },
  // Schedules.
  {
    name: 'what is due at this very moment is not due',
    file: 'shared/domain/policy.ts',
    find: 'if (due <= nowMs) return due;',
    replace: 'if (due < nowMs) return due;',
    tests: ['domain/policy.test.ts'],
    why: 'a tick on the second skips the night',
  },
];
