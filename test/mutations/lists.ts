import type { Mutation } from './mutation.ts';

const INDEX = 'services/job-index.test.ts';
const CANCEL = 'services/cancel-in-flight.test.ts';
const PAGES = 'arm/paging.test.ts';

/** What would make lists tell something else than what is there. */
export const LISTS: readonly Mutation[] = [
  {
    name: 'lists: a job loses its mark before it is in the index',
    file: 'shared/services/end-job.ts',
    find: '  await indexJob(ports, address.vault, row);\n  await ports.catalog.openJobs.remove(address.vault, row.jobId);',
    replace:
      '  await ports.catalog.openJobs.remove(address.vault, row.jobId);\n  await indexJob(ports, address.vault, row);',
    tests: [INDEX],
    only: 'a crash',
    why: 'a backup that failed just before a crash is in no list',
  },
  {
    name: 'lists: a job is pruned before its entries',
    file: 'shared/services/prune-jobs.ts',
    find: '    await unindexJob(ports, vault, job);\n    try {\n      await ports.catalog.jobs.remove(vault, key, etag);',
    replace:
      '    try {\n      await ports.catalog.jobs.remove(vault, key, etag);\n      await unindexJob(ports, vault, job);',
    tests: [INDEX],
    only: 'a crash',
    why: 'lists show jobs that cannot be asked for',
  },
  {
    name: 'lists: the main entry goes first',
    file: 'shared/services/job-index.ts',
    find: '  await forEachAtOnce(others, others.length, (partition) => jobIndex.remove(partition, keyOf(job)));\n  await jobIndex.remove(last, keyOf(job));',
    replace:
      '  await jobIndex.remove(last, keyOf(job));\n  await forEachAtOnce(others, others.length, (partition) => jobIndex.remove(partition, keyOf(job)));',
    tests: [INDEX],
    why: 'what the others list is never found again',
  },
  {
    name: 'lists: a job that has ended and has its mark still is left to the index',
    file: 'shared/services/job-index.ts',
    find: 'if (result !== undefined && isAsked(result.row, asked)) yield',
    replace: 'if (result !== undefined && !ENDED.has(result.row.status) && isAsked(result.row, asked)) yield',
    tests: [INDEX],
    only: 'a crash',
    why: 'a job that ends while a list is read is not in it',
  },
  {
    name: 'lists: a token fits every filter',
    file: 'shared/arm/paging.ts',
    find: 'if (token === undefined || token.question === questionOf($filter))',
    replace: 'if (token !== null)',
    tests: [PAGES],
    why: 'pages of another question follow each other, and what lies between is never seen',
  },
  {
    name: 'cancel: a unit that transfers does not ask for its job',
    file: 'shared/services/write-region.ts',
    find: '    await ports.stillWanted?.();\n',
    replace: '',
    tests: [CANCEL],
    why: 'a cancelled backup goes on reading its disk',
  },
  {
    name: 'cancel: a unit that restores does not ask for its job',
    file: 'shared/services/restore-unit.ts',
    find: '    await probe?.();\n',
    replace: '',
    tests: [CANCEL],
    why: 'a cancelled restore goes on writing where the storage lets it',
  },
];
