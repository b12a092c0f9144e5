import type { Mutation } from './mutation.ts';

/** A rule switched off in one of its clauses, and the named test that must fail then. */
type Off = Omit<Mutation, 'name' | 'tests' | 'only'> & {
  readonly off: string;
  readonly only: string;
  /** Where the rule's own file leaves the clause to the tests of what it is about. */
  readonly tests?: readonly string[];
};

/** The mutations of rule `number`; their tests stand in the rule's own file. */
function rule(number: number, tests: string, offs: readonly Off[]): Mutation[] {
  const own = [`simulation/rules/${tests}.test.ts`];
  return offs.map(({ off, ...mutation }) => ({ tests: own, ...mutation, name: `rule ${number}: ${off}` }));
}

/** The rules of the commit protocol (docs/architecture.md), each switched off in each of its clauses. */
export const RULES: readonly Mutation[] = [
  ...rule(1, 'rule-01-a-job-ends-in-the-chain', [
    {
      off: 'a commit asks whether its job runs before it reads the record, not after',
      file: 'shared/services/commit.ts',
      find: 'if ((await runningJob(ports, address, step.attempt)) === undefined) return;',
      replace: '',
      only: 'a commit asks whether its job runs after',
      why: "a cancelled job's point enters the vault, its objects taken for leftovers",
    },
    {
      off: 'a commit reads the record that it goes behind when it writes, not before its checks',
      file: 'shared/services/commit.ts',
      find: 'chain.append(newest, {',
      replace: 'chain.append(await chain.newest(), {',
      only: 'a coordinator that wakes up when its job was cancelled',
      why: 'a handler that wakes up late commits names that were swept',
    },
    {
      off: 'a commit does not wait for its last object',
      file: 'shared/services/commit.ts',
      find: 'if (missing.length > 0) {',
      replace: 'if (missing.length > 1) {',
      only: 'a commit waits for the last of its objects',
      why: 'a region that was not read in time is restored as it was before',
    },
    {
      off: 'a backup ends without a record',
      file: 'shared/services/end-job.ts',
      find: "row.operation === 'Backup' || row.operation === 'Merge'",
      replace: "row.operation === 'Merge'",
      only: 'a coordinator that wakes up when its job was cancelled',
      why: 'a handler that wakes up late commits names that were swept',
    },
    {
      off: 'a merge ends without a record',
      file: 'shared/services/end-job.ts',
      find: "row.operation === 'Backup' || row.operation === 'Merge'",
      replace: "row.operation === 'Backup'",
      only: 'a merge that wakes up when its job has failed',
      why: 'a merge that wakes up late names a manifest that was swept: a point is lost',
    },
    {
      off: 'a job is not ending first',
      file: 'shared/services/end-job.ts',
      find: "status: outcome === 'Cancelled' ? 'Cancelling' : 'Ending',",
      replace: 'status: outcome,',
      only: 'a job that is ending is not swept',
      why: 'its leftovers are swept while its commit can still come',
    },
    {
      off: 'the sweep takes what an ending job has written',
      file: 'shared/services/sweep.ts',
      find: '!ENDED.has(job.status)) open.push(job);',
      replace: "job.status === 'InProgress') open.push(job);",
      only: 'a job that is ending is not swept',
      why: 'its leftovers are swept while its commit can still come',
    },
    {
      off: 'a job that is ending leaves the list of open jobs',
      file: 'shared/services/end-job.ts',
      find: 'const committed = hasChainPlan(row) &&',
      replace:
        'await ports.catalog.openJobs.remove(address.vault, address.jobId);\n  const committed = hasChainPlan(row) &&',
      only: 'a job that is ending is not swept',
      why: 'its leftovers are swept while its commit can still come',
    },
    {
      off: 'a plan is noted after its first object',
      file: 'shared/services/plan-transfer.ts',
      find: 'if (!(await noteAttempt(',
      replace: 'await storePlan(container, plan);\n  if (!(await noteAttempt(',
      also: [{ find: ') return;\n  await storePlan(container, plan);', replace: ') return;' }],
      only: 'a planner that sleeps has noted its plan',
      why: 'the sweep takes the plan of a job that runs, and the backup fails',
    },
  ]),
  ...rule(2, 'rule-02-the-base-is-per-point-and-per-disk', [
    {
      off: 'a commit does not look at its base',
      file: 'shared/services/commit.ts',
      find: 'plan === undefined || !standsOn(plan, newest)',
      replace: 'plan === undefined',
      only: 'a transfer whose base is no longer the last point',
      why: 'differences from a point that is gone, or is not the last any more, are committed as if they were whole',
    },
    {
      off: 'a commit looks at its last point alone',
      file: 'shared/services/commit.ts',
      find: ' && plan.disks.every(({ base }) => base === null || live.has(base));',
      replace: ' && live.size >= 0;',
      only: 'a disk that returns is planned again',
      why: 'a disk that comes back is committed on a point that was merged away',
    },
    {
      off: "a commit looks at its disks' bases alone",
      file: 'shared/services/commit.ts',
      find: 'return last === plan.base && plan',
      replace: 'return last !== undefined && plan',
      only: 'a transfer whose base is no longer the last point',
      why: 'a point enters behind a later one, as a difference from an earlier',
    },
    {
      off: "a plan does not note its disks' bases",
      file: 'shared/services/plan-transfer.ts',
      find: 'const based = { ...found, base: base.point,',
      replace: 'const based = { ...found, base: null,',
      only: 'a disk that returns is planned again',
      why: 'a disk that comes back is committed on a point that was merged away',
    },
  ]),
  ...rule(3, 'rule-03-whose-record-is-it', [
    {
      off: "whose record it is, is told by the storage's answer: lost",
      file: 'shared/services/chain.ts',
      find: 'return { won: standing.attempt === next.attempt, record: standing };',
      replace: 'return { won: false, record: standing };',
      only: 'does not tell who has won, the record does',
      why: "the winner takes itself for the loser, and its record's names for leftovers",
    },
    {
      off: "whose record it is, is told by the storage's answer: won",
      file: 'shared/services/chain.ts',
      find: 'return { won: standing.attempt === next.attempt, record: standing };',
      replace: 'return { won: true, record: standing };',
      only: 'a merge that was not first deletes nothing',
      why: 'the loser deletes what it believes to have replaced',
    },
    {
      off: 'whose record it is, is told by the job',
      file: 'shared/services/chain.ts',
      find: 'return { won: standing.attempt === next.attempt, record: standing };',
      replace: 'return { won: standing.job === next.job, record: standing };',
      only: 'the job does not tell',
      why: 'a merge takes the record that ended its job for its own, and deletes layers that are named',
    },
  ]),
  ...rule(4, 'rule-04-every-run-of-a-merge-is-a-new-attempt', [
    {
      off: 'a merge commits on a later record than its own',
      file: 'shared/services/commit-replacing.ts',
      find: 'chain.append(newest, {',
      replace: 'chain.append(await chain.newest(), {',
      only: 'a merge that sleeps while a backup commits',
      why: 'a point that was committed meanwhile is dropped from the chain',
    },
    {
      off: 'a later run of a merge has the same attempt',
      file: 'shared/services/merge.ts',
      find: 'attempt: attemptId(ports.ids.hex(16)),',
      replace: 'attempt: attemptId(job.point.slice(1)),',
      only: 'the fold of a run that gave way',
      why: 'a fold of layers that have changed since is committed: blocks are lost',
    },
    {
      off: 'a transfer that a merge has come before begins anew',
      file: 'shared/services/commit.ts',
      find: '    if (won) {',
      replace: '    if (!won) return planTransfer(ports, { ...step, instead: step.attempt });\n    if (won) {',
      only: 'a transfer commits at a later record',
      why: 'a first backup that takes a week begins again each night',
    },
  ]),
  ...rule(5, 'rule-05-pack-names-carry-the-run', [
    {
      off: 'all runs of a unit write the same pack names',
      file: 'shared/services/transfer-unit.ts',
      find: 'runId(ports.ids.hex(8))',
      replace: "runId('00000000')",
      only: 'twins that cut their packs differently',
      why: "a layer points into its twin's packs, and restores what does not belong there",
    },
    {
      off: 'the last layer of a unit stands',
      file: 'shared/services/layer-writer.ts',
      find: 'await putOnce(container, name, bytes, summaryOf(',
      replace: 'await container.delete(name);\n  await putOnce(container, name, bytes, summaryOf(',
      only: 'the first layer of a unit stands',
      why: 'a committed layer is replaced by one whose packs were swept',
    },
    {
      off: 'a unit chooses its source of changes itself',
      file: 'shared/services/transfer-unit.ts',
      find: "if (isBackupError(error, 'ChangeTrackingUnusable')) return planAgain();",
      replace: `if (isBackupError(error, 'ChangeTrackingUnusable')) {
      const disks = plan.disks.map((disk) => ({ ...disk, source: 'hashes' as const, since: null }));
      return writeUnit(ports, container, { ...plan, disks }, unit, run);
    }`,
      only: 'the source of the changes stands in the plan',
      why: 'units of one point are read by two sources, and nobody is told',
    },
  ]),
  ...rule(6, 'rule-06-committed-is-not-overtaken', [
    {
      off: "a record that stands is not recognised as the attempt's own",
      file: 'shared/services/commit.ts',
      find: 'if (await chain.committed(job.attempts, job.planSeq ?? 0, newest)) return settle(newest);',
      replace: '',
      only: 'a coordinator whose twin has committed and died',
      why: 'a point is committed twice, its second layers empty',
    },
    {
      off: 'only the newest record is looked at',
      file: 'shared/services/chain.ts',
      find: 'seq > afterSeq; seq--',
      replace: 'seq >= newest.seq; seq--',
      only: 'it finds its record behind later ones',
      why: 'a point is committed twice, its second layers empty',
    },
    {
      off: 'a merge does not look for its record',
      file: 'shared/services/commit-replacing.ts',
      find: 'if ((await chain.committed([attempt], plan.seq, newest)) !== undefined) return settled(newest);',
      replace: '',
      only: 'a merge whose record stands behind later ones',
      why: 'what a merge has replaced is never deleted, and paid for until a sweep finds it',
    },
    {
      off: 'an earlier plan of the job is forgotten',
      file: 'shared/services/commit.ts',
      find: 'committed(job.attempts, job.planSeq ?? 0, newest)',
      replace: 'committed([attemptId(step.attempt)], job.planSeq ?? 0, newest)',
      only: 'its record came after the twin had planned',
      why: 'a point is committed twice, its second layers empty',
    },
    {
      off: 'a plan is replaced though it was committed',
      file: 'shared/services/plan-transfer.ts',
      find: '(await chain.committed(job.attempts, job.planSeq ?? 0, record)) !== undefined',
      replace: 'record === undefined',
      only: 'its record came before',
      why: 'a job that is done reads its disks again',
    },
    {
      off: 'a cancelled job does not look for its earlier plans',
      file: 'shared/services/end-job.ts',
      find: 'chain.committed(row.attempts, row.planSeq ?? 0, newest)',
      replace: 'chain.committed(row.attempt === undefined ? [] : [row.attempt], row.planSeq ?? 0, newest)',
      only: 'a job that is cancelled has completed',
      why: 'a point is in the vault that its job calls cancelled, and its snapshots are not kept for the next diff',
    },
    {
      off: 'a commit that comes first is overlooked by the cancellation',
      file: 'shared/services/end-job.ts',
      find: 'return won ? false : committedIn(record);',
      replace: 'return false;',
      only: 'a commit that comes between a cancellation and its record',
      why: 'a point is in the vault that its job calls cancelled',
    },
  ]),
  ...rule(7, 'rule-07-chain-records-are-never-deleted', [
    {
      off: 'the sweep takes old records',
      file: 'shared/services/sweep.ts',
      find: 'if (!name.startsWith(`${prefix}chain/`)) names.push(name);',
      replace: 'names.push(name);',
      only: 'a merge that wakes up after many sweeps',
      why: 'a stale writer creates a deleted record anew, believes that it has won, and deletes what is named',
    },
    {
      off: 'the sweep takes the newest record from the rows',
      file: 'shared/services/sweep.ts',
      find: 'await namedBy(container, chain, await chain.newest());',
      replace: `await (async () => {
    const { recordName } = await import('../format/names.ts');
    const { chainRecord } = await import('../format/documents.ts');
    const seq = Math.max(1, ...(await readPoints(ports, partition)).map((row) => row.seq));
    const record = recordName(item.itemId, seq);
    return namedBy(container, chain, decodeDocument(record, await container.readWhole(record), chainRecord));
  })();`,
      only: 'the newest record is found by listing',
      why: 'where rows lag behind, the newest points are swept',
    },
  ]),
  ...rule(8, 'rule-08-pins-against-merges', [
    {
      off: 'a leaving point can be pinned',
      file: 'shared/services/restore.ts',
      find: 'if (item.leaving === point) {',
      replace: "if (item.leaving === ('' as PointId)) {",
      only: 'a point that begins to go can no longer be pinned',
      why: 'a restore begins to read a point while it is taken away',
    },
    {
      off: 'a pinned point can leave',
      file: 'shared/services/jobs.ts',
      find: 'if (pin.point === point && (await isRunning(ports, vault, pin.jobId))) return true;',
      replace: 'if (pin.point === point && (await isRunning(ports, vault, pin.jobId))) return false;',
      only: 'a point that is read from does not begin to go',
      why: 'a point is taken away while a restore reads it',
    },
    {
      off: 'a point is marked as leaving whatever has happened to its item meanwhile',
      file: 'shared/services/merge.ts',
      find: 'leaving: point }, etag);',
      replace: 'leaving: point }, (await readItem(ports, vault, key)).etag);',
      only: 'a pin that comes while cleanup looks for pins',
      why: 'a pin is written over, and its point is taken away while a restore reads it',
    },
    {
      off: 'a reader pins its point after it has planned',
      file: 'shared/services/plan-restore.ts',
      find: 'await pin(ports, address, job.itemKey, job.point);',
      replace: '',
      also: [
        {
          find: '  await storePlan(container, plan);',
          replace: '  await pin(ports, address, job.itemKey, job.point);\n  await storePlan(container, plan);',
        },
      ],
      only: 'a reader reads the record after it has pinned',
      why: 'a restore of a point that was merged away says that the vault is damaged',
    },
    {
      off: 'leaving is taken off before the merge has ended in the chain',
      file: 'shared/services/end-job.ts',
      find: 'const committed = hasChainPlan(row) &&',
      replace: 'await release(ports, address, row);\n  const committed = hasChainPlan(row) &&',
      only: 'a point may be pinned again when its merge has ended',
      why: 'a restore begins to read a point that a paused merge still takes away',
    },
    {
      off: 'leaving is never taken off',
      file: 'shared/services/end-job.ts',
      find: '...(merge ? { mergeJob: undefined, leaving: undefined } : {}),',
      replace: '...(merge ? { mergeJob: undefined } : {}),',
      only: 'a point may be pinned again when its merge has ended',
      why: 'a point that was kept after all cannot be restored',
    },
  ]),
  ...rule(9, 'rule-09-rebuild-first-commits', [
    {
      off: 'a rebuild writes rows without a record',
      file: 'shared/services/rebuild-item.ts',
      find: 'await stopInChain(ports, job, chain, isWanted);',
      replace: '(await chain.newest()) as ChainRecord | undefined;\n  void stopInChain;',
      only: 'a merge that sleeps through the loss of the tables',
      why: 'a handler of the time before drops a point that the rebuild has just found',
    },
    {
      off: 'a rebuild does not stop the item in the chain',
      file: 'shared/services/rebuild-item.ts',
      find: "state: 'stopped',",
      replace: '',
      only: 'a rebuild writes no row of an item before its record stands, which stops the item',
      why: 'points expire before anybody has looked at what was lost',
    },
    {
      off: 'a merge does not look at the state in the record',
      file: 'shared/services/merge.ts',
      find: "if (record.state !== 'protected') return false;",
      replace: '',
      only: "a merge takes the item's state from the record",
      why: 'points of a stopped item expire, or those that a rebuild has just found again',
    },
    {
      off: 'a handler goes on without its job',
      file: 'shared/services/commit.ts',
      find: 'if ((await runningJob(ports, address, step.attempt)) === undefined) return;',
      replace:
        "const again = await ports.catalog.jobs.get(address.vault, address.jobId);\n    if (again !== undefined && again.row.status !== 'InProgress') return;",
      only: 'a handler whose job row has gone since it began stops',
      why: 'it commits what the sweep, which knows of no such job, takes for leftovers',
    },
    {
      off: 'a job without a row counts as running',
      file: 'shared/services/jobs.ts',
      find: 'return row !== undefined && !ENDED.has(row.status);',
      replace: 'return row === undefined || !ENDED.has(row.status);',
      only: 'a job whose row is gone holds nothing',
      why: 'after the tables were lost an item is held for ever',
    },
  ]),
  ...rule(10, 'rule-10-snapshots-go-before-the-record', [
    {
      off: 'a merge deletes the snapshots after its record',
      file: 'shared/services/commit-replacing.ts',
      find: 'await beforeRecord?.(commit);',
      replace: '',
      also: [
        {
          find: 'return won ? settled(',
          replace: 'if (won) await beforeRecord?.(commit);\n  return won ? settled(',
        },
      ],
      only: 'at no moment is there a snapshot',
      why: 'a rebuild finds the expired point again by its snapshots',
    },
    {
      off: 'a snapshot does not say how many its set has',
      file: 'shared/services/take-snapshot.ts',
      find: 'disks: `${disks.length}`,',
      replace: "disks: '1',",
      only: 'each snapshot says of how many disks its set is',
      why: 'a rebuild takes a torn set for a whole point',
    },
    {
      off: 'a rebuild takes torn sets too',
      file: 'shared/services/snapshot-sets.ts',
      find: 'set.length === disks &&',
      replace: 'set.length <= disks &&',
      also: [{ find: '.size === disks &&', replace: '.size <= disks &&' }],
      tests: ['services/rebuild.test.ts'],
      only: 'takes whole sets only',
      why: 'a point comes back that misses a disk',
    },
  ]),
  ...rule(11, 'rule-11-the-manifest-names-each-snapshot', [
    {
      off: "a diff starts at any snapshot of the base's point",
      file: 'shared/services/plan-transfer.ts',
      find: 'since: base.disk.snapshot.id,',
      replace:
        "since: (await Array.fromAsync(ports.snapshots.list(own.url))).findLast(({ tags }) => tags['point'] === base.point)!.id,",
      only: "a twin's stray set of the base's point",
      why: 'what changed between the two is missing from every later point',
    },
    {
      off: 'a merge forgets the snapshots of its successor',
      file: 'shared/services/commit-merge.ts',
      find: 'return { ...own, regions: ',
      replace: "return { ...own, snapshot: { ...own.snapshot, id: '' }, regions: ",
      only: 'a merge carries it on',
      why: 'after each merge all of the disk is read again',
    },
  ]),
  ...rule(12, 'rule-12-snapshot-sets-never-overlap', [
    {
      off: "the item's row is written over",
      file: 'shared/services/backup.ts',
      find: 'await ports.catalog.items.replace(vault, key, held, etag);',
      replace: 'await ports.catalog.items.upsert(vault, key, held);',
      only: 'of two backups that begin at once',
      why: 'the diff of one set starts at a snapshot of the other, which was taken later',
    },
    {
      off: 'a job takes snapshots that does not hold its item',
      file: 'shared/services/take-snapshot.ts',
      find: 'if (item.activeJob !== address.jobId) {',
      replace: "if (item.activeJob === ('' as string)) {",
      only: 'a job that never got hold of the item',
      why: 'two sets of one item overlap',
    },
    {
      off: "a diff may start at a snapshot that is younger by the storage's time",
      file: 'shared/services/plan-transfer.ts',
      find: 'if (base.snapshot.id >= own.snapshot)',
      replace: "if (base.snapshot.id === '')",
      only: 'a diff starts at an older snapshot only',
      why: 'nothing seems to have changed, and the point misses what has',
    },
    {
      off: 'a set may have no disk',
      file: 'shared/services/take-snapshot.ts',
      find: 'if (vm.disks.length === 0) {',
      replace: 'if (vm.disks.length < 0) {',
      only: 'a set without a disk is none',
      why: 'a recovery point has nothing in it, and its job says that all is well',
    },
    {
      off: 'a set may lack a disk that could not be taken',
      file: 'shared/services/take-snapshot.ts',
      find: 'if (failure !== undefined || Math.max',
      replace: 'if (Math.max',
      only: 'vanishes before it is taken',
      why: 'a recovery point misses a disk without saying so',
    },
    {
      off: 'a set may have a disk whose snapshot has vanished',
      file: 'shared/services/take-snapshot.ts',
      find: 'const sizeBytes = await ports.snapshots.sizeOf({ url: source.url, id });',
      replace: 'const sizeBytes = (await ports.snapshots.sizeOf({ url: source.url, id })) ?? source.sizeBytes;',
      only: 'vanishes after it is taken',
      why: 'a recovery point has a disk that nobody can read',
    },
  ]),
  ...rule(13, 'rule-13-sweep-lists-names-first', [
    {
      off: 'job states are read before the names',
      file: 'shared/services/sweep.ts',
      find: '  const open = await openJobs(ports, vault, item);\n',
      replace: '',
      also: [
        {
          find: 'const names: string[] = [];',
          replace: 'const open = await openJobs(ports, vault, item);\n  const names: string[] = [];',
        },
      ],
      only: 'what a job writes that begins during a sweep',
      why: 'what a running job has written is marked, as if its grace had begun',
    },
    {
      off: 'the record is read before the job states',
      file: 'shared/services/sweep.ts',
      find: 'const open = await openJobs(ports, vault, item);',
      replace:
        'const early = await new Chain(container, item.itemId).newest();\n  const open = await openJobs(ports, vault, item);',
      also: [{ find: 'namedBy(container, chain, await chain.newest())', replace: 'namedBy(container, chain, early)' }],
      only: 'what a job names that commits and ends during a sweep',
      why: 'what has just been committed is marked, as if its grace had begun',
    },
    {
      off: 'record, then job states, then names',
      file: 'shared/services/sweep.ts',
      find: '  const open = await openJobs(ports, vault, item);\n',
      replace: '',
      also: [
        {
          find: 'const names: string[] = [];',
          replace:
            'const early = await new Chain(container, item.itemId).newest();\n  const open = await openJobs(ports, vault, item);\n  const names: string[] = [];',
        },
        { find: 'namedBy(container, chain, await chain.newest())', replace: 'namedBy(container, chain, early)' },
      ],
      only: 'a job that begins during one sweep and ends during another',
      why: 'two sweeps delete what a job has written between them and committed: a point is lost',
    },
    {
      off: 'a sweep keeps the mark of a name that is named again',
      file: 'shared/domain/sweep.ts',
      find: '.filter((name) => !present.has(name))',
      replace: '.filter(() => false)',
      only: 'a mark is taken off a name that is found named',
      why: 'when the name is dropped again, its grace has run already',
    },
  ]),
];
