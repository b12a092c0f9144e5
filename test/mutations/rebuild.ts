import type { Mutation } from './mutation.ts';

const REBUILT = 'services/rebuild.test.ts';
const TROUBLE = 'services/rebuild-trouble.test.ts';
const ITEM = 'shared/services/rebuild-item.ts';
const SETS = 'shared/services/snapshot-sets.ts';

/** What would bring back what must not come back, lose what only its snapshots know, or let something expire unseen. */
export const REBUILD: readonly Mutation[] = [
  {
    name: 'rebuild: rows are written without a record first',
    file: ITEM,
    find: 'const record = await stopInChain(ports, job, chain, isWanted);',
    replace: 'const record: ChainRecord | undefined = await chain.newest();',
    tests: [TROUBLE],
    only: 'a handler that slept',
    why: 'a handler of the time before commits behind the back of the rows',
  },
  {
    name: 'rebuild: the record leaves the state as it was',
    file: ITEM,
    find: "      state: 'stopped',\n",
    replace: '',
    tests: [REBUILT],
    why: 'merges begin before anybody has looked',
  },
  {
    name: 'rebuild: a rerun commits once more',
    file: ITEM,
    find: "if (newest.kind === 'rebuild' && newest.job === job.jobId) return newest;",
    replace: '',
    tests: [TROUBLE],
    only: 'at any call',
    why: 'each redelivery lengthens the chain',
  },
  {
    name: 'rebuild: a handler that slept goes on after its job',
    file: ITEM,
    find: '    if (!(await isWanted())) return undefined;\n    const { won',
    replace: '    const { won',
    tests: [TROUBLE],
    only: 'stops nothing that has been resumed',
    why: 'an item that was resumed is stopped in silence',
  },
  {
    name: 'rebuild: nobody asks whether a point was ever in the vault',
    file: ITEM,
    find: 'for (const point of await everNamed(chain, record, [...sets.keys()])) sets.delete(point);',
    replace: '',
    tests: [REBUILT],
    why: 'a merged point comes back by the snapshots that a twin has left',
  },
  {
    name: 'rebuild: a record that cannot be read named nothing',
    file: ITEM,
    find: 'for (const point of points) if (point <= last) named.add(point);',
    replace: '',
    tests: [REBUILT],
    why: 'a merged point comes back where the chain is damaged',
  },
  {
    name: 'rebuild: what runs is left to run',
    file: ITEM,
    find: '  await endJobs(ports, job.vault, item);\n',
    replace: '',
    tests: [TROUBLE],
    only: 'ends running backups',
    why: 'a backup of the time before holds an item that is stopped',
  },
  {
    name: 'rebuild: sets need not be one moment',
    file: SETS,
    find: 'spreadMs(set.map(({ id }) => id)) <= SET_MS',
    replace: 'spreadMs(set.map(({ id }) => id)) >= 0 * SET_MS',
    tests: [REBUILT],
    why: 'disks of different times are restored as one point',
  },
  {
    name: 'rebuild: a set that its job has not noted counts',
    file: SETS,
    find: ' || (noted !== undefined && noted !== attempt)',
    replace: '',
    tests: [TROUBLE],
    only: 'that a job has noted',
    why: 'a point changes its snapshots, and the ones it had are swept',
  },
  {
    name: 'sweep: missing rows mean that nobody owns the snapshots',
    file: 'shared/services/sweep.ts',
    find: '(await chain.newest()).points.some(({ point }) => !known.has(point))',
    replace: '(await chain.newest()).points.some(({ point }) => !known.has(point)) && known.size > 1_000',
    tests: [TROUBLE],
    only: 'however long ago',
    why: 'a point that only its snapshots know is deleted because a table was lost',
  },
];
