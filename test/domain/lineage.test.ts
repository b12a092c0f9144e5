import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DiskId } from '../../shared/domain/ids.ts';
import { type KnownLineage, type PresentDisk, assignDisks, isSameLineage } from '../../shared/domain/lineage.ts';

const disk = (lun: number, url: string, createdAt = '2026-01-01T00:00:00.000Z'): PresentDisk => ({
  lun,
  name: `disk${lun}`,
  url,
  createdAt,
});
const known = (id: string, present: PresentDisk): KnownLineage => ({ disk: id as DiskId, ...present });
function counter(): () => DiskId {
  let next = 0;
  return () => `new${next++}` as DiskId;
}

describe('a disk of a VM', () => {
  const os = disk(-1, 'os');
  const data = disk(0, 'data');
  const had = [known('o', os), known('d', data)];
  const cases: [string, PresentDisk[], string[]][] = [
    ['is the same while URL and creation are', [os, data], ['o', 'd']],
    ['is the same in another LUN', [os, { ...data, lun: 5 }], ['o', 'd']],
    [
      'continues the one that was in its LUN and is gone',
      [os, disk(0, 'data', '2026-02-02T00:00:00.000Z')],
      ['o', 'd'],
    ],
    ['continues the OS disk in the OS role', [disk(-1, 'other'), data], ['o', 'd']],
    ['is new in a LUN of its own', [os, data, disk(1, 'more')], ['o', 'd', 'new0']],
    ['is new where the disk of its LUN has only moved', [os, disk(0, 'more'), { ...data, lun: 1 }], ['o', 'new0', 'd']],
    ['comes back after it was detached', [data], ['d']],
  ];
  it.each(cases)('%s', (_, present, expected) => expect(assignDisks(had, present, counter()).disks).toEqual(expected));

  it('that is managed keeps its chain by its unique id, wherever it is moved', () => {
    const managed = disk(0, '/subscriptions/s/resourcegroups/a/disks/x', 'unique-1');
    const moved = { ...managed, lun: 3, url: '/subscriptions/s/resourcegroups/b/disks/y' };
    expect(assignDisks([known('m', managed)], [os, moved], counter()).disks).toEqual(['new0', 'm']);
    expect(isSameLineage(managed, moved)).toBe(true);
    expect(isSameLineage(managed, { ...managed, createdAt: 'unique-2' })).toBe(false);
    // Page blobs of two places may have been created in the same second.
    expect(isSameLineage(disk(0, 'https://a/b'), disk(0, 'https://a/c'))).toBe(false);
    expect(isSameLineage(disk(0, 'https://a/b'), disk(0, '/subscriptions/s'))).toBe(false);
  });

  it('that is detached is remembered', () => {
    expect(assignDisks(had, [os], counter()).known.map((each) => each.disk)).toEqual(['d', 'o']);
  });

  it('is forgotten when very many have come and gone since', () => {
    let had = [known('o', os)];
    for (let i = 0; i < 100; i++) had = [...assignDisks(had, [disk(i, `data${i}`)], () => `d${i}` as DiskId).known];
    expect(had.length).toBe(80);
    expect(had.at(-1)!.url).toBe('data99');
    expect(had.some(({ url }) => url === 'os')).toBe(false);
  });

  it('that continues another is known by its own lineage from then on', () => {
    const replaced = disk(0, 'replaced');
    const after = assignDisks(had, [os, replaced], counter());
    expect(after.known).toEqual([known('o', os), known('d', replaced)]);
    expect(assignDisks(after.known, [os, data], counter()).disks).toEqual(['o', 'd']);
  });
});

it('ids are never shared, a lineage never changes its id while it is attached, and the answer repeats', () => {
  const present = fc.uniqueArray(
    fc.record({
      lun: fc.integer({ min: -1, max: 3 }),
      url: fc.constantFrom('p', 'q', 'r', 's'),
      createdAt: fc.constantFrom('t1', 't2'),
    }),
    { maxLength: 4, selector: ({ lun }) => lun },
  );
  const distinct = present.filter((disks) => new Set(disks.map(({ url }) => url)).size === disks.length);
  fc.assert(
    fc.property(fc.array(distinct, { maxLength: 8 }), (history) => {
      const fresh = counter();
      let had: KnownLineage[] = [];
      let before = new Map<string, DiskId>();
      for (const disks of history) {
        const now = disks.map(({ lun, url, createdAt }) => disk(lun, url, createdAt));
        const answer = assignDisks(had, now, fresh);
        expect(new Set(answer.disks).size).toBe(now.length);
        expect(new Set(answer.known.map((each) => each.disk)).size).toBe(answer.known.length);
        const ids = new Map(now.map(({ url, createdAt }, i) => [`${url} ${createdAt}`, answer.disks[i]!]));
        for (const [lineage, id] of ids) expect(before.get(lineage) ?? id).toBe(id);
        const neverFresh = (): DiskId => expect.fail('a known disk got a new id');
        expect(assignDisks(answer.known, now, neverFresh).disks).toEqual(answer.disks);
        had = answer.known;
        before = ids;
      }
    }),
  );
});
