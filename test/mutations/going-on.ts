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
];
