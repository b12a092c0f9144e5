import type { Mutation } from './mutation.ts';

const AMOUNTS = 'domain/costs.test.ts';
const REPORTS = 'services/costs.test.ts';

/** The cost report: exact to the byte. */
export const COSTS: readonly Mutation[] = [
  {
    name: 'costs: checkpoints cost nothing',
    file: 'shared/domain/costs.ts',
    find: 'const bytes = amount.layerBytes + amount.checkpointBytes + manifestBytes;',
    replace: 'const bytes = amount.layerBytes + manifestBytes;',
    tests: [AMOUNTS],
    why: 'the bill is higher than the report',
  },
  {
    name: 'costs: what a merge leaves dead in a slab is billed to nobody',
    file: 'shared/domain/slab-shares.ts',
    find: 'return share > 0 ?',
    replace: 'return share < 0 ?',
    tests: [AMOUNTS],
    why: 'bytes that are paid for stand in no report, and nobody looks for them',
  },
  {
    name: 'costs: the shares of slabs are taken over by every layer that stays',
    file: 'shared/domain/slab-shares.ts',
    find: 'missing.delete(slab);',
    replace: '',
    tests: [AMOUNTS],
    why: 'the report is higher than the bill',
  },
  {
    name: 'costs: a merge on the way makes the report fail',
    file: 'shared/services/chain.ts',
    find: 'if (now.seq === record.seq) throw error;',
    replace: 'throw error;',
    tests: [REPORTS],
    why: 'while cleanup runs the report says that manifests are lost',
  },
  {
    name: 'costs: manifests are read without their sizes',
    file: 'shared/services/costs.ts',
    find: 'else sizes.set(point, (sizes.get(point) ?? 0) + sizeBytes);',
    replace: '',
    tests: [REPORTS],
    why: 'documents of many points are missing in the report',
  },
  {
    name: 'costs: of the documents of a manifest only the last is counted',
    file: 'shared/services/costs.ts',
    find: 'else sizes.set(point, (sizes.get(point) ?? 0) + sizeBytes);',
    replace: 'else sizes.set(point, sizeBytes);',
    tests: ['services/parts.test.ts'],
    why: 'the bill of a large disk is higher than the report',
  },
  {
    name: 'costs: one item without a readable record takes all others along',
    file: 'shared/services/costs.ts',
    find: 'if (!isBackupError(error, ...DAMAGE_CODES)) throw error;\n      uncounted.push',
    replace: 'if (uncounted.length === 0) throw error;\n      uncounted.push',
    tests: [REPORTS],
    why: 'nobody learns what a vault costs until its damage is mended',
  },
];
