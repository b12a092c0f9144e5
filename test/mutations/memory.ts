import type { Mutation } from './mutation.ts';

const READS = 'services/read-ahead.test.ts';

/** Memory that is used again. */
export const MEMORY: readonly Mutation[] = [
  {
    name: 'memory: a run of blocks is handed to the disk before the one before it has left',
    file: 'shared/services/target-writer.ts',
    find: 'const tracked = write();\n',
    replace: 'const tracked = write();\n    giveBuffer(pending);\n',
    tests: ['services/target-writer.test.ts'],
    why: 'a restored disk holds the bytes of another place',
  },
  {
    name: 'memory: bytes for a disk stay where they were read until they are written',
    file: 'shared/services/target-writer.ts',
    find: 'this.#pending.set(bytes, this.#pendingBytes);',
    replace:
      'if (bytes.length === WRITE_BYTES) this.#pending = bytes; else this.#pending.set(bytes, this.#pendingBytes);',
    tests: ['services/target-writer.test.ts'],
    why: 'a restored disk holds the bytes of another place',
  },
  {
    name: 'memory: damage in the vault is laid to the disk that was written',
    file: 'shared/services/restore-unit.ts',
    find: "if (isBackupError(error, 'RestoreVerificationFailed') && target.source === null)",
    replace: 'if (target.source !== null)',
    tests: ['services/restore-checks.test.ts'],
    why: 'the job blames the target, and nobody looks at the pack',
  },
  {
    name: 'memory: a buffer is given back before its bytes are looked at',
    file: 'shared/services/read-ahead.ts',
    find: 'yield { piece, bytes: result.bytes };\n    giveBuffer(result.into);',
    replace: 'giveBuffer(result.into);\n    yield { piece, bytes: result.bytes };',
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
