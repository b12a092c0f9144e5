import type { Mutation } from './mutation.ts';

const READS = 'services/read-ahead.test.ts';

/** Memory that is used again. */
export const MEMORY: readonly Mutation[] = [
  {
    name: 'memory: a buffer is given back before its bytes are looked at',
    file: 'shared/services/read-ahead.ts',
    find: 'yield { piece, bytes: result.bytes };\n    give(result.into);',
    replace: 'give(result.into);\n    yield { piece, bytes: result.bytes };',
    tests: [READS],
    why: 'a backup holds the bytes of another place on the disk',
  },
  {
    name: 'memory: a frame that was stored raw is kept where it was read',
    file: 'shared/services/region-bytes.ts',
    find: 'raw === stored ? new Uint8Array(raw) : raw',
    replace: 'raw',
    tests: ['services/raw-frames.test.ts'],
    why: 'a restore meets the bytes of a later read and calls a sound pack damaged',
  },
  {
    name: 'memory: a pack is gathered where the one before it is still on its way',
    file: 'shared/services/layer-writer.ts',
    find: 'await this.#waiting(this.#upload);\n    this.#uploaded?.clear();',
    replace: 'this.#uploaded?.clear();',
    tests: ['services/raw-frames.test.ts'],
    why: 'a pack is stored with the bytes of another',
  },
  {
    name: 'memory: a slab keeps a frame where it was gathered',
    file: 'shared/format/slab.ts',
    find: 'this.#frames.push(new Uint8Array(bytes));',
    replace: 'this.#frames.push(bytes);',
    tests: ['services/raw-frames.test.ts'],
    why: 'a thin region is stored with the bytes of another',
  },
];
