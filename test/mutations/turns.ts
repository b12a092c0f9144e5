import type { Mutation } from './mutation.ts';

const TESTS = ['services/waiting-backup.test.ts'];

/** Backups of one item that come while another transfers, and disks that are left out. */
export const TURNS: readonly Mutation[] = [
  {
    name: 'turns: a backup begins to wait behind one that takes its snapshots',
    file: 'shared/services/holders.ts',
    find: 'isHeld && running.every(({ set }) => set !== undefined)',
    replace: 'isHeld',
    tests: TESTS,
    only: 'sets never overlap',
    why: 'two sets of one item overlap, and a diff between them misses what was written meanwhile',
  },
  {
    name: 'turns: a transfer does not wait for the one before',
    file: 'shared/services/wait-turn.ts',
    find: 'if (await isRunning(ports, address.vault, (await itemOf())?.activeJob)) return false;',
    replace: 'if (await isRunning(ports, address.vault, (await itemOf())?.activeJob)) return true;',
    tests: TESTS,
    only: 'goes into the vault after the one that it waited for',
    why: 'the small transfer of a day overtakes the first backup, which has run for days and can never commit',
  },
  {
    name: 'turns: a transfer is planned before its point has a row',
    file: 'shared/services/end-job.ts',
    find: "await ports.queue.send({ step: 'take-snapshot', v: 1, ...address });",
    replace: "await ports.queue.send({ step: 'plan-transfer', v: 1, ...address });",
    tests: TESTS,
    only: 'has its row all the same',
    why: 'a point is in the vault that nobody can see, and its snapshots stay for ever',
  },
  {
    name: 'turns: one that was cancelled as it slept ends another in its place',
    file: 'shared/services/wait-turn.ts',
    find: "if ((await readJob(ports, address))?.status !== 'InProgress') return;",
    replace: '',
    also: [
      {
        find: ' && row.errors.some(({ code }) => code === WAITS)\n      ? { ...row, status',
        replace: '\n      ? { ...row, status',
      },
    ],
    tests: TESTS,
    only: 'that has its turn now',
    why: 'neither of the two points comes into the vault',
  },
  {
    name: 'turns: cleanup takes the snapshots of a point that waits',
    file: 'shared/services/clean-up-snapshots.ts',
    find: 'holdsItem(item, row.jobId) &&',
    replace: 'item.activeJob === row.jobId &&',
    tests: TESTS,
    only: 'keeps its snapshots past their time',
    why: 'after a long first backup the point that was to follow is gone',
  },
  {
    name: 'disks: the OS disk may be left out',
    file: 'shared/domain/disk-selection.ts',
    find: 'lun === OS_LUN || ',
    replace: '',
    tests: ['services/excluded-disks.test.ts'],
    only: 'with the OS disk',
    why: 'the machine that is restored does not start',
  },
  {
    name: 'disks: one that is left out counts as gone',
    file: 'shared/domain/lineage.ts',
    find: ' && !elsewhere.has(old.url)',
    replace: '',
    tests: ['services/excluded-disks.test.ts'],
    only: 'is not taken for gone',
    why: 'the disk in its old LUN continues its chain, and all of it is stored again when it comes back',
  },
  {
    name: 'disks: a policy change takes all disks in again',
    file: 'shared/services/protection.ts',
    find: 'selection === undefined ? item.diskSelection :',
    replace: 'selection === undefined ? undefined :',
    tests: ['services/excluded-disks.test.ts'],
    only: 'stays as it is when the policy changes',
    why: 'disks that nobody wants to pay for are backed up unasked',
  },
  {
    name: 'turns: older backups wait beside a newer one',
    file: 'shared/services/take-snapshot.ts',
    find: '  await standInFor(ports, address, job);\n',
    replace: '',
    tests: TESTS,
    only: 'of several that wait the newest goes on',
    why: 'each day of a long first backup leaves a job that says nothing and waits',
  },
];
