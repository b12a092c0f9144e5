import type { Mutation } from './mutation.ts';

const MIXED = 'services/mixed-disks.test.ts';
const NAMES = 'services/managed-names.test.ts';

/** Disks of both kinds, and what becomes of one restored as the other. */
export const MIXED_DISKS: readonly Mutation[] = [
  {
    name: 'mixed: the footer goes along to a managed disk',
    file: 'shared/services/restored-form.ts',
    find: 'diskInside(sizeBytes, await lastSector())',
    replace: 'sizeBytes + 0 * diskInside(sizeBytes, await lastSector())',
    tests: [MIXED],
    why: 'the restored disk is larger than the one it was, with a stray footer at its end',
  },
  {
    name: 'mixed: a page blob of a managed disk has no footer',
    file: 'shared/services/restored-form.ts',
    find: '? { sizeBytes, footer: true } : { sizeBytes };',
    replace: '? { sizeBytes } : { sizeBytes };',
    tests: [MIXED],
    why: 'no VM can be made of the restored blob',
  },
  {
    name: 'mixed: a cut block is expected whole',
    file: 'shared/services/restored-form.ts',
    find: 'if (end % BLOCK_BYTES === 0 || from < 0',
    replace: 'if (end > 0 || from < 0',
    tests: [MIXED],
    only: 'restored from the vault',
    why: 'a disk that ends within a block can never be restored as a managed one',
  },
  {
    name: 'mixed: the last sector is looked for in the first block',
    file: 'shared/services/restored-form.ts',
    find: 'const block = Math.floor(offset / BLOCK_BYTES);',
    replace: 'const block = 0 * Math.floor(offset / BLOCK_BYTES);',
    tests: [MIXED],
    only: 'restored from the vault',
    why: 'the footer is taken for part of the disk',
  },
  {
    name: 'mixed: times of two clocks are compared',
    file: 'shared/disk/snapshot-time.ts',
    find: "{ clock: slash < 0 ? 'storage' : 'compute', atMs }",
    replace: "{ clock: 'storage' as const, atMs }",
    tests: [NAMES],
    why: 'a VM of mixed disks has no whole set where the clocks differ',
  },
  {
    name: 'mixed: a long tag loses its end',
    file: 'shared/disk/managed-tags.ts',
    find: 'for (let i = 2; tags[`${name}.${i}`] !== undefined; i++) whole += tags[`${name}.${i}`];',
    replace: '',
    tests: [NAMES],
    why: 'a point that is in its snapshots alone is not found again by a rebuild',
  },
];
