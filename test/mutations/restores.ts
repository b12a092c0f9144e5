import type { Mutation } from './mutation.ts';

const WORKERS = 'services/concurrency.test.ts';
const WORKED = 'services/worked-cases.test.ts';
const CHECKS = 'services/restore-checks.test.ts';
const LAYERS = 'format/layer-file.test.ts';

/** What would restore other bytes than those that were backed up, or take damaged ones for sound. */
export const RESTORES: readonly Mutation[] = [
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
];
