import type { Mutation } from './mutation.ts';

const MERGED = 'services/merge.test.ts';
const WORKED = 'services/worked-cases.test.ts';
const FOLDS = 'domain/region-view.property.test.ts';
const MERGES = 'domain/merge.property.test.ts';

/** What would change the view of a surviving point, or leave what a merge has replaced. */
export const MERGING: readonly Mutation[] = [
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
];
