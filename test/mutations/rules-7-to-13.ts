import type { Mutation } from './mutation.ts';
import { rule } from './rule.ts';

/** What others may rely on: rules 7 to 13 of the commit protocol, each switched off in each of its clauses. */
export const RULES_7_TO_13: readonly Mutation[] = [
  ...rule(7, 'rule-07-chain-records-are-never-deleted', [
    {
      off: 'the sweep takes old records',
      file: 'shared/services/sweep-walk.ts',
      find: 'if (name.startsWith(`${itemPrefix(this.#item)}chain/`)) continue;',
      replace: '',
      only: 'a merge that wakes up after many sweeps',
      why: 'a stale writer creates a deleted record anew, believes that it has won, and deletes what is named',
    },
    {
      off: 'the sweep takes the newest record from the rows',
      file: 'shared/services/sweep.ts',
      find: 'await namedAmong(container, chain, await chain.newest(), layout, asked, jobs),',
      replace: `await (async () => {
    const { recordName } = await import('../format/names.ts');
    const { chainRecord } = await import('../format/documents.ts');
    const seq = Math.max(1, ...(await readPoints(ports, partition)).map((row) => row.seq));
    const record = recordName(item.itemId, seq);
    const old = decodeDocument(record, await container.readWhole(record), chainRecord);
    return namedAmong(container, chain, old, layout, asked, jobs);
  })(),`,
      only: 'the newest record is found by listing',
      why: 'where rows lag behind, the newest points are swept',
    },
  ]),
  ...rule(8, 'rule-08-pins-against-merges', [
    {
      off: 'a leaving point can be pinned',
      file: 'shared/services/restore.ts',
      find: '    refuseLeaving(item, point);\n    return item.pins',
      replace: '    return item.pins',
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
          find: '  if (plan === undefined) return;\n',
          replace: '  await pin(ports, address, job.itemKey, job.point);\n  if (plan === undefined) return;\n',
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
      find: 'const running = await runningJobSeen(ports, address, step.attempt);\n    if (running === undefined) return;',
      replace:
        "const running = (await ports.catalog.jobs.get(address.vault, address.jobId)) ?? seen!;\n    if (running.row.status !== 'InProgress') return;",
      only: 'a handler whose job row has gone since it began stops',
      why: 'it commits what the sweep, which knows of no such job, takes for leftovers',
    },
    {
      off: 'a job without a row counts as running',
      file: 'shared/services/holders.ts',
      find: 'if (job !== undefined && !ENDED.has(job.status)) running.push(job);',
      replace: "if (job === undefined) return 'snapshots';\n    if (!ENDED.has(job.status)) running.push(job);",
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
      file: 'shared/services/choose-source.ts',
      find: 'since: base.disk.snapshot.id,',
      replace:
        "since: (await Array.fromAsync(ports.snapshots.list(own.url))).findLast(({ tags }) => tags['point'] === base.point)!.id,",
      only: "a twin's stray set of the base's point",
      why: 'what changed between the two is missing from every later point',
    },
    {
      off: 'a merge forgets the snapshots of its successor',
      file: 'shared/services/manifest-writer.ts',
      find: 'return writer.finish(old);',
      replace:
        "return writer.finish({ ...old, disks: old.disks.map((own) => ({ ...own, snapshot: { ...own.snapshot, id: '' } })) });",
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
      find: 'if (!holdsItem(item, address.jobId)) {',
      replace: "if (!holdsItem(item, address.jobId) && item.activeJob === ('' as string)) {",
      only: 'a job that never got hold of the item',
      why: 'two sets of one item overlap',
    },
    {
      off: "a diff may start at a snapshot that is younger by the storage's time",
      file: 'shared/services/choose-source.ts',
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
      find: 'if (failure !== undefined || spread',
      replace: 'if (spread',
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
          find: 'const { places, names, isLast } = await walk.batch(after);',
          replace:
            'const open = await openJobs(ports, vault, item);\n  const { places, names, isLast } = await walk.batch(after);',
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
      also: [
        { find: 'namedAmong(container, chain, await chain.newest(),', replace: 'namedAmong(container, chain, early,' },
      ],
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
          find: 'const { places, names, isLast } = await walk.batch(after);',
          replace:
            'const early = await new Chain(container, item.itemId).newest();\n  const open = await openJobs(ports, vault, item);\n  const { places, names, isLast } = await walk.batch(after);',
        },
        { find: 'namedAmong(container, chain, await chain.newest(),', replace: 'namedAmong(container, chain, early,' },
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
