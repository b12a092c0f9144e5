import type { Mutation } from './mutation.ts';

const UNITS = ['services/restore-units.test.ts'];
const CHECKS = ['services/restore-checks.test.ts'];
const LISTINGS = ['services/shared-listings.test.ts'];
const GROUPS = ['domain/thin-regions.test.ts'];

/** Messages that restore several regions, and listings that several regions share. */
export const RESTORE_UNITS: readonly Mutation[] = [
  {
    name: 'restore units: the first region of several is restored, the others are not',
    file: 'shared/services/restore-unit.ts',
    find: 'const parts = unit.regions.map(',
    replace: 'const parts = unit.regions.slice(0, 1).map(',
    tests: UNITS,
    why: 'a disk is handed over with most of its small regions empty',
  },
  {
    name: 'restore units: the second region of several is left out',
    file: 'shared/services/restore-unit.ts',
    find: 'inOrder(parts.entries(), REGIONS_IN_FLIGHT',
    replace: 'inOrder([...parts.entries()].toSpliced(1, 1), REGIONS_IN_FLIGHT',
    also: [
      {
        find: 'await forEachAtOnce(parts, REGIONS_IN_FLIGHT',
        replace: 'await forEachAtOnce(parts.toSpliced(1, 1), REGIONS_IN_FLIGHT',
      },
    ],
    tests: UNITS,
    why: 'a disk is handed over with holes where it had data',
  },
  {
    name: 'restore units: the first region of several is read back, the others are not',
    file: 'shared/services/restore-unit.ts',
    find: 'await forEachAtOnce(parts, REGIONS_IN_FLIGHT',
    replace: 'await forEachAtOnce(parts.slice(0, 1), REGIONS_IN_FLIGHT',
    tests: CHECKS,
    why: 'a write that never arrived is found by whoever uses the disk',
  },
  {
    name: 'restore units: a unit is done when it is begun',
    file: 'shared/services/restore-unit.ts',
    find: 'let hashes: ReadonlyMap<Part, RegionHashes>;',
    replace:
      'await ports.catalog.units.upsert(plan.attempt, key, { bytes: unit.bytes });\n  let hashes: ReadonlyMap<Part, RegionHashes>;',
    tests: UNITS,
    why: 'a unit whose handler died in the middle counts as done, and its other regions stay empty',
  },
  {
    name: 'restore units: one region that has not moved makes the whole unit damaged',
    file: 'shared/services/restore-unit.ts',
    find: 'moved?.every(',
    replace: 'moved?.some(',
    tests: UNITS,
    why: 'a restore fails because a merge went on beside it',
  },
  {
    name: 'restore units: the sweep knows the layers of one region of several',
    file: 'shared/services/named.ts',
    find: 'regions.flatMap(({ region, stack }) => blobs(targets',
    replace: 'regions.slice(0, 1).flatMap(({ region, stack }) => blobs(targets',
    tests: UNITS,
    why: 'what a restore is still going to read may be swept',
  },
  {
    name: 'restore units: a message restores any number of bytes',
    file: 'shared/domain/thin-regions.ts',
    find: 'mostBytes: restoreBytes })',
    replace: 'mostBytes: Infinity })',
    tests: GROUPS,
    why: 'a worker is killed for its memory, again and again',
  },
  {
    name: 'shared listings: a window reaches over the regions of other units',
    file: 'shared/services/shared-listings.ts',
    find: '.some((each) => planned.has(each))',
    replace: '.some((each) => planned.has(-each - 1))',
    tests: LISTINGS,
    why: 'all ranges of a full region are held in memory for a thin one beside it',
  },
  {
    name: 'shared listings: a region is told the ranges of others',
    file: 'shared/services/shared-listings.ts',
    find: 'if (start < end) yield',
    replace: 'if (start !== end) yield',
    tests: LISTINGS,
    why: 'a region reads and writes what lies elsewhere',
  },
  {
    name: 'shared listings: a window is listed for good though its listing failed',
    file: 'shared/services/shared-listings.ts',
    find: 'taking.catch(() => this.#taken.delete(window));',
    replace: 'taking.catch(() => undefined);',
    tests: LISTINGS,
    why: 'a unit fails every time that it tries again',
  },
];
