import type { Mutation } from './mutation.ts';

const RETENTION = 'domain/retention.test.ts';
const HISTORY = 'services/prune-jobs.test.ts';
const SWEEPS = 'domain/sweep.test.ts';

/** What would take points or objects away too early, or too late. */
export const KEEPING: readonly Mutation[] = [
  // Retention.
  {
    name: 'the newest point may expire',
    file: 'shared/domain/retention.ts',
    find: 'if (point.point === newest)',
    replace: "if (point.point === ('' as PointId))",
    tests: [RETENTION],
    why: 'an item whose backups fail for long loses its last copy',
  },
  {
    name: 'the fixed end of an on-demand point is ignored',
    file: 'shared/domain/retention.ts',
    find: "if (point.trigger === 'onDemand')",
    replace: "if (point.trigger === ('' as string))",
    tests: [RETENTION],
    why: 'a point that somebody asked to keep goes with the daily ones',
  },
  {
    name: 'a point expires a moment early',
    file: 'shared/domain/retention.ts',
    find: 'if (expiry.at > nowMs)',
    replace: 'if (expiry.at > nowMs + 1)',
    tests: [RETENTION],
    why: 'retention is a promise to the millisecond',
  },
  {
    name: 'points expire without a policy in force',
    file: 'shared/domain/retention.ts',
    find: 'if (policy === undefined) return undefined;\n',
    replace: "if (policy === undefined) return { at: 0, rule: 'Daily' };\n",
    tests: [RETENTION],
    why: 'stopping protection with data retained deletes the data',
  },
  // Sweeps.
  {
    name: 'a sweep does not wait',
    file: 'shared/domain/sweep.ts',
    find: '(marks.get(name) ?? nowMs) > graceMs',
    replace: '(marks.get(name) ?? 0) > graceMs',
    tests: [SWEEPS],
    why: 'what a commit is about to name is deleted before it is named',
  },
  {
    name: 'a sweep takes the objects of running jobs',
    file: 'shared/domain/sweep.ts',
    find: ' && !isInFlight(name)',
    replace: '',
    tests: [SWEEPS],
    why: 'a first backup that takes a week is deleted while it is written',
  },
  {
    name: 'a sweep keeps the mark of a name that is named again',
    file: 'shared/domain/sweep.ts',
    find: '.filter((name) => !present.has(name))',
    replace: '.filter(() => false)',
    tests: [SWEEPS],
    why: 'when the name is dropped again, its grace has run already',
  },
  // Schedules.
  {
    name: 'what is due at this very moment is not due',
    file: 'shared/domain/policy.ts',
    find: 'if (due <= nowMs) return due;',
    replace: 'if (due < nowMs) return due;',
    tests: ['domain/policy.test.ts'],
    why: 'a tick on the second skips the night',
  },
  // The history of jobs.
  {
    name: 'history: the backup of a live point is forgotten',
    file: 'shared/services/prune-jobs.ts',
    find: 'if (needed === undefined || needed.jobs.has(jobId) || (point !== undefined && needed.points.has(point))) return true;',
    replace: 'if (needed === undefined) return true;',
    tests: [HISTORY],
    why: 'a set whose row was lost is taken for a leftover, and the point goes with it',
  },
  {
    name: 'history: a disk that nobody knows any more keeps all rows',
    file: 'shared/services/prune-jobs.ts',
    find: 'if (!isBackupError(error)) throw error;',
    replace: 'throw error;',
    tests: [HISTORY],
    why: 'one account that is gone ends each night’s pruning, and its message fails',
  },
  {
    name: 'history: a backup is forgotten while its snapshots are there',
    file: 'shared/services/prune-jobs.ts',
    find: 'if ((await ports.snapshots.sizeOf({ url, id })) !== undefined) return true;',
    replace: 'await ports.snapshots.sizeOf({ url, id });',
    tests: [HISTORY],
    why: 'a point of the snapshot tier whose row was lost is swept',
  },
  {
    name: 'history: jobs are forgotten that nobody knows to have ended',
    file: 'shared/services/prune-jobs.ts',
    find: "if (error.code !== 'VaultObjectMissing' || rows.length > 0) return undefined;",
    replace: '',
    tests: [HISTORY],
    why: 'what a chain that cannot be read still names is taken for nobody’s',
  },
  {
    name: 'history: jobs that the watch still knows are forgotten',
    file: 'shared/services/prune-jobs.ts',
    find: 'if ((await ports.catalog.openJobs.get(vault, key)) !== undefined) continue;',
    replace: '',
    tests: [HISTORY],
    why: 'what they hold of their item is never freed',
  },
];
