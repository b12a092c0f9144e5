import { expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { checkStored } from '../support/durable-check.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import { namedIn } from '../support/vault-map.ts';
import { DAY_MS, type World, createWorld } from '../support/world.ts';
import { type OrderedWrites, type Write, WriteBack } from '../support/write-back.ts';

/*
 * The order of writes is what makes a crash leave garbage and never a point that lies. Here each pair of writes that the design orders
 * is done the other way round, once, by storage that says yes before it has written, and then the power goes. The checks must
 * notice each: so they, and the tests that rest on them, can fail.
 */

const B = BLOCK_BYTES;
const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * B, fill);

const put =
  (part: string) =>
  ({ call, name }: Write): boolean =>
    call === 'vault.put' && name.includes(part);
const deleting =
  (part: RegExp) =>
  ({ call, name }: Write): boolean =>
    call === 'vault.delete' && part.test(name);
const rowOf =
  (table: string) =>
  ({ call }: Write): boolean =>
    call.startsWith(`${table}.`);

/** The same region of the same plan: `<region>.<attempt>`. */
const sameUnit = (a: Write, b: Write): boolean => unitIn(a.name) === unitIn(b.name);
const unitIn = (name: string): string => /\/(\d+\.[0-9a-f]{16})\./.exec(name)?.[1] ?? name;

/** From the nth write of a kind on. */
function from(nth: number, picks: (write: Write) => boolean): (write: Write) => boolean {
  let seen = 0;
  return (write) => picks(write) && ++seen >= nth;
}

interface Pair extends OrderedWrites {
  readonly name: string;
  /** What the check says. */
  readonly notices: RegExp;
}

/** What the design orders. Each is made anew, since some count. The third record is the merge's; the item's first record has no plan. */
const pairs = (): Pair[] => [
  {
    name: 'a pack before its layer',
    first: put('.pack'),
    second: (write, pack) => put('.layer')(write) && sameUnit(write, pack),
    notices: /layer .* is there, but not its .*\.pack/,
  },
  {
    name: 'a layer before the manifest that lists it',
    first: put('.layer'),
    second: put('/points/'),
    notices: /manifest .* is there, but not its .*\.layer/,
  },
  {
    name: 'a slab before the manifest that lists its layers',
    first: put('.slab'),
    second: put('/points/'),
    notices: /manifest .* is there, but not its .*\.slab/,
  },
  {
    name: 'a manifest before the record that names it',
    first: put('/points/'),
    second: put('/chain/'),
    notices: /\/points\/.* is named, but not there/,
  },
  {
    name: 'a record before the rows that follow it',
    first: put('/chain/'),
    second: rowOf('points'),
    notices: /tells of record 2, not written yet/,
  },
  {
    name: 'the note of a plan before the first object of the plan',
    first: ({ call, row }) => call === 'jobs.replace' && row?.['attempt'] !== undefined,
    second: put('/plans/'),
    notices: /plans.*no job has noted its plan/,
  },
  {
    name: "a merge's new layers before the manifest that lists them",
    first: from(3, put('.layer')),
    second: put('/points/'),
    notices: /manifest .* is there, but not its .*\.layer/,
  },
  {
    name: "a merge's manifest before its record",
    first: from(3, put('/points/')),
    second: put('/chain/'),
    notices: /\/points\/.* is named, but not there/,
  },
  {
    name: "the expired point's snapshots before the record that drops it",
    first: ({ call }) => call === 'snapshots.remove',
    second: put('/chain/'),
    notices: /no record names \d+ any more, but its snapshot/,
  },
  {
    name: "a merge's record before the rows that follow it",
    first: from(3, put('/chain/')),
    second: rowOf('points'),
    notices: /has no row any more|not written yet/,
  },
  {
    name: "a merge's record before the first delete of what it replaces",
    first: from(3, put('/chain/')),
    second: deleting(/\/points\/|\.layer|\.slab|\.pack/),
    notices: /named, but not there/,
  },
  {
    name: "a manifest's delete before the deletes of its layers",
    first: deleting(/\/points\//),
    second: deleting(/\.layer$|\.slab$/),
    notices: /manifest .* is there, but not its/,
  },
  {
    name: "a layer's delete before those of its packs",
    first: deleting(/\.layer$/),
    second: deleting(/\.pack$/),
    notices: /layer .* is there, but not its .*\.pack/,
  },
];

/** Two backups, the merge of the first point, its reclaim, and the sweep. */
async function live(world: World): Promise<void> {
  const [disk] = await world.createVm('vm', [9 * B]);
  await world.setPolicy({ instantRetentionDays: 9 }); // it is the merge that deletes the first point's snapshots
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const backUp = async (days: number): Promise<void> => {
    const image = await world.disks.read(disk!, { start: 0, end: 9 * B });
    const { point } = await world.backup('vm', world.clock.now() + days * DAY_MS);
    await world.settle();
    images.set(point!, image);
    world.clock.advance(60_000);
  };
  // Two regions of many blocks, the third is thin. The second point writes over one of them, in part over the other, and the third.
  await world.disks.write(disk!, 0, block(1, 9));
  await backUp(1);
  await world.disks.write(disk!, 0, block(2, 4));
  await world.disks.write(disk!, 8 * B, block(3));
  await backUp(30);
  world.clock.advance(2 * DAY_MS);
  await world.cleanUp();
  await world.settle();
  await world.cleanUp(); // what a merge that was cut off has left to do
  await world.sweep();
  namedIn(world.vaults.blobs(world.vaults.containerNames()[0]!));
  for (const { point, set } of await world.points('vm')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
  }
}

async function worldOf(wrapHandlers: (ports: Ports) => Ports): Promise<World> {
  return createWorld({
    layout: { thinBytes: B },
    wrapHandlers,
    onFailure: (error) => {
      if (!(error instanceof Killed) && !isBackupError(error)) throw error;
    },
  });
}

it('in the order in which it is written, what is stored is whole after every write', async () => {
  let writes = 0;
  const world: World = await worldOf((ports) =>
    gatedPorts(ports, {
      before: () => undefined,
      async after(call) {
        if (!/\.(put|assemble|delete|insert|replace|upsert|remove|take)$/.test(call)) return;
        writes++;
        await checkStored(world);
      },
    }),
  );
  await live(world);
  expect(writes).toBeGreaterThan(80);
});

for (const { name, notices, ...pair } of pairs()) {
  it(`the other way round it is noticed: ${name}`, async () => {
    let noticed = '';
    const cache = new WriteBack(pair, async () => {
      noticed = await checkStored(world).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
    });
    const world: World = await worldOf((ports) => cache.wrap(ports));
    // What becomes of it later, from a lost backup to a lost vault, is not the question: the first reader has noticed.
    await live(world).catch(() => undefined);
    expect(cache.state).toBe('lost');
    expect(noticed).toMatch(notices);
  });
}
