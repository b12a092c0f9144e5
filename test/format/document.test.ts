import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeDocument, documentDigest, encodeDocument } from '../../shared/format/document.ts';
import { chainRecord, manifest, vaultDocument } from '../../shared/format/documents.ts';
import { codeOf, flips, truncations } from './failures.ts';
import { V1, V2, goldenBlob } from './golden-vault.ts';

const schema = z.object({ format: z.literal(1), text: z.string(), list: z.array(z.int()) });
const NAME = 'v1/items/vm/plans/0000000000000001.json';
const small = { format: 1 as const, text: 'ü"\n', list: [1, -2] };

/** A document with a good checksum over any bytes. */
function signed(name: string, body: Uint8Array | string): Buffer {
  const digest = createHash('sha256').update(`${name}\n`).update(body).digest('hex');
  return Buffer.concat([Buffer.from(`{"sha256":"${digest}",`), Buffer.from(body)]);
}

describe('a document', () => {
  it('comes back as it was', () => {
    const value = fc.record({
      format: fc.constant(1 as const),
      text: fc.string({ unit: 'grapheme' }),
      list: fc.array(fc.maxSafeInteger()),
    });
    fc.assert(
      fc.property(value, (any) => {
        expect(decodeDocument(NAME, encodeDocument(NAME, any), schema)).toEqual(any);
      }),
    );
  });

  it('is JSON that anybody can read, its checksum first', () => {
    const bytes = encodeDocument(NAME, small);
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({ sha256: documentDigest(bytes), ...small });
    expect(Buffer.from(bytes)).toEqual(signed(NAME, JSON.stringify(small).slice(1)));
  });

  it('that is cut anywhere is refused', () => {
    for (const cut of truncations(encodeDocument(NAME, small)))
      expect(codeOf(() => decodeDocument(NAME, cut, schema))).toBe('DocumentCorrupt');
  });

  it('with any bit flipped is refused', () => {
    for (const { damaged } of flips(encodeDocument(NAME, small))) {
      expect(codeOf(() => decodeDocument(NAME, damaged, schema))).toBe('DocumentCorrupt');
    }
  });

  it('under another name is refused', () => {
    expect(codeOf(() => decodeDocument(NAME.replace('1.json', '2.json'), encodeDocument(NAME, small), schema))).toBe(
      'DocumentCorrupt',
    );
  });

  it('other than the one that its record names is refused', () => {
    const bytes = encodeDocument(NAME, small);
    const other = documentDigest(encodeDocument(NAME, { ...small, list: [] }));
    expect(codeOf(() => decodeDocument(NAME, bytes, schema, documentDigest(bytes)))).toBe('none');
    expect(codeOf(() => decodeDocument(NAME, bytes, schema, other))).toBe('DocumentCorrupt');
  });

  it('of another format is refused as such', () => {
    for (const format of [0, 2, 3, '1', null, undefined]) {
      expect(codeOf(() => decodeDocument(NAME, encodeDocument(NAME, { ...small, format }), schema))).toBe(
        'FormatUnsupported',
      );
    }
  });

  it('with a good checksum over bad content is refused', () => {
    const bad = [
      '}',
      '"format":1',
      '"format":1,"text":"a","list":[]}x',
      '"format":1,"text":1,"list":[]}',
      '"format":1,"text":"a","list":[0.5]}',
    ];
    for (const body of bad)
      expect(['DocumentCorrupt', 'FormatUnsupported']).toContain(
        codeOf(() => decodeDocument(NAME, signed(NAME, body), schema)),
      );
    const notUtf8 = Buffer.concat([
      Buffer.from('"format":1,"list":[],"text":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    expect(codeOf(() => decodeDocument(NAME, signed(NAME, notUtf8), schema))).toBe('DocumentCorrupt');
  });

  it('of random bytes is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, sign) => {
        const code = codeOf(() => decodeDocument(NAME, sign ? signed(NAME, bytes) : bytes, schema));
        expect(['DocumentCorrupt', 'FormatUnsupported']).toContain(code);
      }),
    );
  });

  it('may have properties that this version does not know', () => {
    expect(decodeDocument(NAME, encodeDocument(NAME, { ...small, later: true }), schema)).toEqual(small);
  });
});

const VM =
  '/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/app/providers/Microsoft.Compute/virtualMachines/golden';
const ITEM = 'v1/items/golden-d4735e3a';

describe('golden documents of version 1', () => {
  it('the vault, which does not say whose it is', () => {
    const { name, bytes } = goldenBlob(V1, 'vault.json');
    expect(decodeDocument(name, bytes, vaultDocument)).toEqual({
      format: 1,
      vaultId: 'vault-v1-5feceb66',
      blockBytes: 16_384,
      regionBytes: 65_536,
      createdAt: '2026-01-01T12:00:00.000Z',
      subscriptionId: '',
      resourceGroup: '',
      name: '',
      location: '',
    });
  });

  it('a chain record, which does not say of which VM', () => {
    const { name, bytes } = goldenBlob(V1, '/chain/000000000005.json');
    expect(decodeDocument(name, bytes, chainRecord)).toEqual({
      format: 1,
      item: 'golden-d4735e3a',
      seq: 5,
      kind: 'merge',
      attempt: 'e29c9c180c6279b0',
      job: expect.stringMatching(/^[0-9a-f-]{36}$/),
      writtenAt: '2026-01-04T12:00:00.000Z',
      state: 'protected',
      vm: { id: '', name: '', resourceGroup: '' },
      points: [
        {
          point: '17672688000000000',
          manifest: `${ITEM}/points/17672688000000000.19581e27de7ced00.json`,
          sha256: documentDigest(goldenBlob(V1, '/points/17672688000000000.').bytes),
        },
        {
          point: '17674416000000000',
          manifest: `${ITEM}/points/17674416000000000.e29c9c180c6279b0.json`,
          sha256: documentDigest(goldenBlob(V1, '/points/17674416000000000.').bytes),
        },
      ],
    });
  });

  it('a manifest, of whose layers all bytes count as live', () => {
    const { name, bytes } = goldenBlob(V1, '/points/17675280600000000.');
    const value = decodeDocument(name, bytes, manifest);
    const layers = [
      {
        point: '17675280600000000',
        attempt: '9f14025af0065b30',
        dataBlocks: 1,
        clearedBlocks: 0,
        storedBytes: 365,
        liveBytes: 365,
      },
    ];
    const disk = {
      createdAt: '2026-01-01T12:00:00.000Z',
      snapshot: { id: expect.any(String) as string, attempt: expect.any(String) as string },
    };
    expect(value).toEqual({
      format: 1,
      item: 'golden-d4735e3a',
      point: '17675280600000000',
      attempt: '9f14025af0065b30',
      time: '2026-01-04T12:01:00.000Z',
      trigger: 'onDemand',
      dueAt: null,
      retainUntil: '2034-03-23T12:01:00.000Z',
      consistency: 'CrashConsistent',
      vm: {
        id: VM,
        vmId: '6b86b273ff34fce19d6b804eff5a3f57',
        name: 'golden',
        resourceGroup: 'app',
        location: 'westeurope',
        size: 'Standard_D2s_v5',
        osType: 'Linux',
      },
      lacking: [],
      disks: [
        {
          ...disk,
          disk: 'e7f6c011',
          lun: -1,
          name: 'golden-0',
          url: 'https://disks0.example/vhds/golden-0.vhd',
          sizeBytes: 147_968,
          regions: [{ region: 2, layers }],
        },
        {
          ...disk,
          disk: '7902699b',
          lun: 0,
          name: 'golden-1',
          url: 'https://disks1.example/vhds/golden-1.vhd',
          sizeBytes: 131_072,
          regions: [{ region: 1, layers }],
        },
      ],
    });
  });
});

describe('golden documents of version 2', () => {
  it('the vault', () => {
    const { name, bytes } = goldenBlob(V2, 'vault.json');
    const value = decodeDocument(name, bytes, vaultDocument);
    expect(value).toEqual({
      format: 1,
      vaultId: 'vault-v1-5feceb66',
      blockBytes: 16_384,
      regionBytes: 786_432,
      createdAt: '2026-01-01T12:00:00.000Z',
      subscriptionId: '11111111-2222-3333-4444-555555555555',
      resourceGroup: 'bk',
      name: 'v1',
      location: 'westeurope',
    });
    expect(Buffer.from(encodeDocument(name, value))).toEqual(bytes);
  });

  it('chain records of all that has happened', () => {
    const records = Array.from({ length: 10 }, (_, i) => {
      const { name, bytes } = goldenBlob(V2, `/chain/${`${i + 1}`.padStart(12, '0')}.json`);
      const record = decodeDocument(name, bytes, chainRecord);
      expect(record).toMatchObject({ seq: i + 1, vm: { id: VM, name: 'golden', resourceGroup: 'app' } });
      return record;
    });
    const b = 'backup';
    expect(records.map(({ kind }) => kind)).toEqual(['start', b, b, b, b, b, 'merge', 'compact', b, 'rebuild']);
    expect(records.map(({ state }) => state)).toEqual([...Array<string>(9).fill('protected'), 'stopped']);
    expect(records[9]!.points).toEqual(records[8]!.points);
    expect(records[6]!.points.map(({ point }) => point)).toEqual(records[7]!.points.map(({ point }) => point));
  });

  it('a manifest with slabs and a list of layers', () => {
    const { name, bytes } = goldenBlob(V2, '/points/17675280000000000.');
    const value = decodeDocument(name, bytes, manifest);
    const own = '17675280000000000';
    const [fold, point] = ['0b918943df0962bc', '35135aaa6cc23891'];
    const counts = (dataBlocks: number, clearedBlocks: number, storedBytes: number, liveBytes = storedBytes) => ({
      dataBlocks,
      clearedBlocks,
      storedBytes,
      liveBytes,
    });
    expect(value).toMatchObject({ format: 2, point: own, attempt: '71ee45a3c0db9a98' });
    expect(value.disks.map(({ disk, begins, regions }) => ({ disk, begins, regions }))).toEqual([
      {
        disk: 'e7f6c011',
        begins: '17673552000000000',
        regions: [
          {
            region: 0,
            layers: [
              { point: '17674416000000000', attempt: '785f3ec7eb32f30b', ...counts(16, 0, 1040, 900) },
              { point: own, attempt: point, slab: { number: 0, offset: 134, bytes: 247 }, ...counts(1, 0, 371) },
            ],
          },
          {
            region: 1,
            layers: [{ point: own, attempt: fold, slab: { number: 0, offset: 111, bytes: 249 }, ...counts(1, 1, 373) }],
          },
          {
            region: 2,
            layers: [{ point: own, attempt: fold, slab: { number: 0, offset: 360, bytes: 310 }, ...counts(3, 0, 393) }],
          },
        ],
      },
      {
        disk: '7902699b',
        begins: '17673552000000000',
        regions: [
          { region: 0, layers: [{ point: own, attempt: fold, ...counts(17, 0, 17_588, 17_368) }] },
          { region: 1, layers: [{ point: own, attempt: '71ee45a3c0db9a98', ...counts(46, 2, 2625, 2269) }] },
        ],
      },
    ]);
  });

  it('a manifest with checkpoints', () => {
    const { name, bytes } = goldenBlob(V2, '/points/17676144000000000.');
    const value = decodeDocument(name, bytes, manifest);
    const attempt = '9f14025af0065b30';
    expect(value.disks[0]!.regions.map(({ region, checkpoint }) => ({ region, checkpoint }))).toEqual([
      { region: 0, checkpoint: { attempt, depth: 3, stack: '7938641d07fb8f20960dd53dc9f88e13' } },
      { region: 1, checkpoint: { attempt, depth: 3, stack: 'c56afc45c85a9d35e8729972afaabc44' } },
    ]);
  });
});
