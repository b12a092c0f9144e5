import type { Mutation } from './mutation.ts';

/** What would leave a job, an item or a row as it is for ever. */
export const GOING_ON: readonly Mutation[] = [
  {
    name: 'going on: a delete that a policy forbids is a failure',
    file: 'shared/services/owed-delete.ts',
    find: "if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;",
    replace: 'throw error;',
    tests: ['services/owed-deletes.test.ts'],
    why: 'under immutable storage verifications never end, and first backups leave their items unprotected',
  },
  {
    name: 'going on: nobody knows since when a merge has found damage',
    file: 'shared/services/merge.ts',
    find: 'point: plan.point, newest: unit.into };',
    replace: 'point: plan.point };',
    tests: ['services/heal.test.ts'],
    why: 'where nobody reads in depth, every backup writes the same region again',
  },
  {
    name: 'going on: damage that a merge has met is called covered',
    file: 'shared/services/findings.ts',
    find: '[...new Set([at.point, at.newest])]',
    replace: '[...new Set([at.point])]',
    tests: ['services/heal.test.ts'],
    why: 'no backup writes it again',
  },
  {
    name: 'going on: a merge that gets on gives no sign of life',
    file: 'shared/services/commit-replacing.ts',
    find: "return row.status === 'InProgress' && doneBytes > row.doneBytes ?",
    replace: "return row.status === 'InProgress' && doneBytes < 0 ?",
    tests: ['services/going-on.test.ts'],
    why: 'a long merge is begun once more every quarter of an hour, and its messages pile up',
  },
  {
    name: 'going on: a merge that does not get on gives signs of life',
    file: 'shared/services/commit-replacing.ts',
    find: 'doneBytes > row.doneBytes ?',
    replace: 'doneBytes >= row.doneBytes ?',
    tests: ['services/going-on.test.ts'],
    why: 'a merge whose units were lost waits for ever, and its item with it',
  },
  {
    name: 'going on: a unit of a restore that is late leaves its mark',
    file: 'shared/services/restore-unit.ts',
    find: 'if ((await runningJob(ports, address, step.attempt)) === undefined)',
    replace: 'if (runningJob === undefined)',
    tests: ['services/late-jobs.test.ts'],
    why: 'rows that nobody ever takes away',
  },
  {
    name: 'going on: the mark of a late unit that died stays',
    file: 'shared/services/restore-unit.ts',
    find: 'if (open === undefined) return ports.catalog.units.remove(step.attempt, key);',
    replace: 'if (open === undefined) return;',
    tests: ['services/late-jobs.test.ts'],
    why: 'rows that nobody ever takes away',
  },
];
