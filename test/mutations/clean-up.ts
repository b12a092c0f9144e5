import type { Mutation } from './mutation.ts';

const RUNS = 'services/clean-up-run.test.ts';
const CRASHES = 'services/clean-up-crash.test.ts';
const SHARES = 'domain/clean-up.test.ts';

/** Cleanup runs: budget, fairness, and a report that says what was done. */
export const CLEAN_UP: readonly Mutation[] = [
  {
    name: 'clean-up: who has merged nothing is stopped by its share',
    file: 'shared/services/clean-up.ts',
    find: "(limit === 'budget' && report.row.merged > 0)",
    replace: "limit === 'budget'",
    tests: [RUNS],
    why: 'an item starves beside large ones, and its expired points are paid for without end',
  },
  {
    name: 'clean-up: the time of a run is not looked at',
    file: 'shared/services/clean-up.ts',
    find: "if (ports.clock.now() >= run.endsAt) return 'time';",
    replace: '',
    tests: [RUNS],
    why: 'cleanup goes on into the hours of the backups',
  },
  {
    name: 'clean-up: a point that is being read holds up those after it',
    file: 'shared/services/clean-up.ts',
    find: 'if (await isPinned(ports, vault, item, point)) continue;',
    replace: 'if (await isPinned(ports, vault, item, point)) return undefined;',
    tests: [RUNS],
    why: 'a restore of a week keeps a week of expired points',
  },
  {
    name: 'clean-up: a merge that fails is begun again and again',
    file: 'shared/services/clean-up.ts',
    find: '.length < TRIES_OF_A_POINT',
    replace: '.length < 1000',
    tests: [RUNS],
    why: 'one damaged object takes the time of the whole run',
  },
  {
    name: 'clean-up: snapshots that are going to end are not noted first',
    file: 'shared/services/clean-up-snapshots.ts',
    find: 'await report.change({ ending: batch });',
    replace: '',
    tests: [CRASHES],
    why: 'what a handler did before it died is missing in the report',
  },
  {
    name: 'clean-up: what others have left is given to nobody',
    file: 'shared/services/clean-up-look.ts',
    find: "stopped: row.status === 'budget' ? 'budget' : 'otherwise',",
    replace: "stopped: 'otherwise',",
    tests: [RUNS],
    why: 'a vault with one busy item never uses its budget',
  },
  {
    name: 'clean-up: items that lost their message are not seen to',
    file: 'shared/services/clean-up-look.ts',
    find: 'for (const report of await readReports(ports, vault, run.runId)) await wake(ports, vault, run, report);',
    replace: '',
    tests: [RUNS],
    why: 'a lost message leaves a run without an end',
  },
  {
    name: 'clean-up: the run before does not end when the next begins',
    file: 'shared/services/clean-up-run.ts',
    find: '    await endRun(ports, vault, other);',
    replace: '    void endRun;',
    tests: [RUNS],
    why: 'two runs count the same merges',
  },
  {
    name: 'clean-up: who was served last is served first',
    file: 'shared/domain/clean-up.ts',
    find: '(a.servedAt ?? -Infinity) - (b.servedAt ?? -Infinity)',
    replace: '(b.servedAt ?? -Infinity) - (a.servedAt ?? -Infinity)',
    tests: [SHARES],
    why: 'where time is short the same items are always passed over',
  },
  {
    name: 'clean-up: a share that could not be used is given again',
    file: 'shared/domain/clean-up.ts',
    find: 'shares[i]! > Math.max(0, grantedBytes - spentBytes)',
    replace: 'shares[i]! > 0',
    tests: [SHARES],
    why: 'a run with nothing to do in its budget never ends',
  },
  {
    name: 'clean-up: runs that cannot be read keep the others waiting',
    file: 'shared/services/clean-up-look.ts',
    find: '      if (!isBackupError(error)) throw error;\n',
    replace: '      throw error;\n',
    tests: ['services/clean-up-run.test.ts'],
    why: 'one unreadable row leaves the runs of all other vaults without an end',
  },
  {
    name: 'clean-up: the runs of a deleted vault stay',
    file: 'shared/services/vaults.ts',
    find: 'for (const { runId } of await readRuns(ports, key)) await removeRun(ports, key, runId);',
    replace: 'void [readRuns, removeRun];',
    tests: ['services/deleted-vault.test.ts'],
    why: 'a vault made anew under the name shows what was done in another',
  },
  {
    name: 'clean-up: a message that comes late begins a run in a vault that is gone',
    file: 'shared/services/clean-up-run.ts',
    find: '=== undefined) return removeRun(ports, vault, step.run);',
    replace: '=== undefined) void removeRun;',
    tests: ['services/deleted-vault.test.ts'],
    why: 'a vault made anew under the name shows what was done in another',
  },
];
