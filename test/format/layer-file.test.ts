import { createHash } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import type { Layer } from '../../shared/domain/layer.ts';
import {
  LAYER_HEADER_BYTES,
  MOST_BLOCKS,
  decodeLayer,
  decodeLayerMap,
  encodeLayer,
  layerMapBytes,
} from '../../shared/format/layer-file.ts';
import { ColumnWriter } from '../../shared/format/columns.ts';
import { layerSaying, said } from '../domain/arbitraries.ts';
import { codeOf, flips, truncations, unspaced } from './failures.ts';
import { V1, goldenBlob } from './golden-vault.ts';

const FOLDER = 'v1/items/vm/disks/d/00000000000000007';
const NAME = `${FOLDER}/000003.0123456789abcdef.layer`;
const small = layerSaying('pack', [1, 'cleared', 2, undefined, undefined, 3, 3], 2).layer;

const layers = fc
  .tuple(said, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 }))
  .map(([words, frameBlocks, packFrames]) => layerSaying('pack', words, frameBlocks, packFrames).layer);

/** A file whose checksums are good whatever its map is. */
function signed(
  map: Uint8Array,
  { stored = 0, rawBytes = map.length, version = 1, hashes = new Uint8Array(stored * 32) } = {},
): Buffer {
  const packed = zstdCompressSync(map);
  const header = Buffer.alloc(96);
  header.write('STRATALY', 'latin1');
  header.writeUInt16LE(version, 8);
  header.writeUInt32LE(packed.length, 12);
  header.writeUInt32LE(rawBytes, 16);
  header.writeUInt32LE(stored, 20);
  header.set(createHash('sha256').update(`${NAME}\n`).update(hashes).digest(), 32);
  header.set(createHash('sha256').update(`${NAME}\n`).update(header.subarray(0, 64)).update(packed).digest(), 64);
  return Buffer.concat([header, packed, hashes]);
}

/** A map with one pack of 1,000 bytes, one frame of two blocks, and one extent. */
function map(
  changed: Partial<
    Record<'packs' | 'frames' | 'extents' | 'pack' | 'offset' | 'blocks' | 'gap' | 'count' | 'frame' | 'slot', number>
  > = {},
): Uint8Array {
  const columns = new ColumnWriter();
  columns.u32(changed.packs ?? 1);
  columns.text('pack');
  columns.u32(1000);
  columns.u32(changed.frames ?? 1);
  columns.u32(changed.pack ?? 0);
  columns.u32(changed.offset ?? 16);
  columns.u32(100);
  columns.u16(changed.blocks ?? 2);
  columns.u8(0);
  columns.u32(changed.extents ?? 1);
  columns.u32(changed.gap ?? 5);
  columns.u32(changed.count ?? 2);
  columns.u32(changed.frame ?? 1);
  columns.u16(changed.slot ?? 0);
  return columns.finish();
}

describe('a layer file', () => {
  it('comes back as it was, with hashes and without', () => {
    fc.assert(
      fc.property(layers, (layer) => {
        const bytes = encodeLayer(NAME, layer);
        const back = decodeLayer(NAME, bytes);
        expect({ ...back, hashes: Buffer.from(back.hashes) }).toEqual({
          ...layer,
          hashes: Buffer.from(layer.hashes!),
        });
        const mapBytes = layerMapBytes(NAME, bytes.subarray(0, LAYER_HEADER_BYTES));
        expect(decodeLayerMap(NAME, bytes.subarray(0, mapBytes))).toEqual({ ...layer, hashes: undefined });
        expect(mapBytes).toBe(bytes.length - layer.hashes!.length);
      }),
    );
  });

  it('takes a full region', () => {
    const extents = Array.from({ length: MOST_BLOCKS / 2 }, (_, i) => ({ start: 2 * i, count: 1, frame: i, slot: 0 }));
    const frames = extents.map((_, i) => ({ pack: 0, offset: 16 + i, storedBytes: 1, blocks: 1, codec: 1 }));
    const full: Layer = {
      packs: [{ name: 'pack', totalBytes: 4_294_967_295 }],
      frames,
      extents,
      hashes: new Uint8Array(extents.length * 32),
    };
    expect(decodeLayer(NAME, encodeLayer(NAME, full)).extents).toEqual(extents);
  });

  it('needs the hashes of its blocks to be written', () => {
    expect(() => encodeLayer(NAME, { ...small, hashes: undefined })).toThrow(TypeError);
    expect(() => encodeLayer(NAME, { ...small, hashes: small.hashes!.subarray(32) })).toThrow(TypeError);
  });

  it('that is cut anywhere is refused', () => {
    for (const cut of truncations(encodeLayer(NAME, small)))
      expect(codeOf(() => decodeLayer(NAME, cut))).toBe('LayerCorrupt');
    const bytes = encodeLayer(NAME, small);
    const mapped = bytes.subarray(0, layerMapBytes(NAME, bytes));
    for (const cut of truncations(mapped)) expect(codeOf(() => decodeLayerMap(NAME, cut))).toBe('LayerCorrupt');
  });

  it('with anything behind it is refused', () => {
    expect(codeOf(() => decodeLayer(NAME, Buffer.concat([encodeLayer(NAME, small), Buffer.alloc(32)])))).toBe(
      'LayerCorrupt',
    );
  });

  it('with any bit flipped is refused, one of its version as such', () => {
    for (const { bit, damaged } of flips(encodeLayer(NAME, small))) {
      const version = bit >= 8 * 8 && bit < 10 * 8;
      expect(codeOf(() => decodeLayer(NAME, damaged))).toBe(version ? 'FormatUnsupported' : 'LayerCorrupt');
    }
  });

  const others: [string, string][] = [
    ['another region', `${FOLDER}/000004.0123456789abcdef.layer`],
    ['an earlier attempt', `${FOLDER}/000003.0000000000000000.layer`],
    ['another point', NAME.replace('00000000000000007', '00000000000000008')],
    ['another disk', NAME.replace('disks/d/', 'disks/e/')],
    ['another item', NAME.replace('items/vm/', 'items/wm/')],
  ];
  it.each(others)('under the name of %s is refused', (_, name) => {
    const bytes = encodeLayer(NAME, small);
    expect(codeOf(() => decodeLayer(name, bytes))).toBe('LayerCorrupt');
    expect(codeOf(() => decodeLayerMap(name, bytes))).toBe('LayerCorrupt');
  });

  it('with the hashes of another is refused', () => {
    const other = encodeLayer(NAME, { ...small, hashes: Buffer.alloc(small.hashes!.length, 9) });
    const bytes = Buffer.from(encodeLayer(NAME, small));
    const mapBytes = layerMapBytes(NAME, bytes);
    expect(
      codeOf(() => decodeLayer(NAME, Buffer.concat([bytes.subarray(0, mapBytes), other.subarray(mapBytes)]))),
    ).toBe('LayerCorrupt');
  });

  const impossible: [string, Uint8Array, number][] = [
    ['more packs than it holds', map({ packs: 4_294_967_295 }), 2],
    ['more frames than it holds', map({ frames: 4_294_967_295 }), 2],
    ['more extents than it holds', map({ extents: 4_294_967_295 }), 2],
    ['a frame in a pack that it does not list', map({ pack: 1 }), 2],
    ['a frame past the end of its pack', map({ offset: 901 }), 2],
    ['a frame of more blocks than anybody makes room for', map({ blocks: 257 }), 2],
    ['a frame of no blocks', map({ frame: 0, blocks: 0 }), 0],
    ['an extent in a frame that it does not list', map({ frame: 2 }), 2],
    ['an extent past the end of its frame', map({ slot: 1 }), 2],
    ['an extent of no blocks', map({ count: 0 }), 0],
    ['an extent past the end of a region', map({ gap: MOST_BLOCKS - 1 }), 2],
    ['a cleared extent past the end of a region', map({ frame: 0, count: 4_294_967_295 }), 0],
    ['a cleared extent with a slot', map({ frame: 0, slot: 1 }), 0],
    ['other blocks than its header counts', map(), 1],
    ['something behind it', Buffer.concat([map(), Buffer.alloc(1)]), 2],
    ['nothing', new Uint8Array(0), 0],
  ];
  it.each(impossible)('whose map has %s is refused, though its checksums are good', (_, raw, stored) => {
    expect(codeOf(() => decodeLayer(NAME, signed(map(), { stored: 2 })))).toBe('none');
    expect(codeOf(() => decodeLayer(NAME, signed(raw, { stored })))).toBe('LayerCorrupt');
  });

  it('that states another size of its map is refused before it is made room for', () => {
    expect(codeOf(() => decodeLayer(NAME, signed(map(), { stored: 2, rawBytes: map().length + 1 })))).toBe(
      'LayerCorrupt',
    );
    expect(codeOf(() => decodeLayer(NAME, signed(map(), { stored: 2, rawBytes: map().length - 1 })))).toBe(
      'LayerCorrupt',
    );
    expect(
      codeOf(() => decodeLayer(NAME, signed(Buffer.alloc(64 * 1024 * 1024), { rawBytes: 64 * 1024 * 1024 }))),
    ).toBe('LayerCorrupt');
  });

  it('of another version is refused as such', () => {
    for (const version of [0, 2, 65_535])
      expect(codeOf(() => decodeLayer(NAME, signed(map(), { stored: 2, version })))).toBe('FormatUnsupported');
  });

  it('of random bytes is refused, with good checksums too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(8), (bytes, stored) => {
        expect(codeOf(() => decodeLayer(NAME, bytes))).toBe('LayerCorrupt');
        expect(codeOf(() => decodeLayer(NAME, Buffer.concat([Buffer.from('STRATALY\x01\0'), bytes])))).toBe(
          'LayerCorrupt',
        );
        // Twelve zeros are an empty map, which nothing random should be.
        expect(codeOf(() => decodeLayer(NAME, signed(Buffer.concat([bytes, Buffer.from([1])]), { stored })))).toBe(
          'LayerCorrupt',
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe('a golden layer', () => {
  const { name, bytes } = goldenBlob(V1, 'e7f6c011/17674416000000000/000001.e29c9c180c6279b0.layer');
  const item = 'v1/items/golden-d4735e3a';
  const packs = [
    { name: `${item}/disks/e7f6c011/17673552000000000/000001.b17ef6d19c7a5b1e.4ec9599f.0.pack`, totalBytes: 32_852 },
    { name: `${item}/disks/e7f6c011/17674416000000000/000001.c2356069e9d1e79c.5f9c4ab0.0.pack`, totalBytes: 114 },
  ];
  const hashes = [
    'fe3b5ebf5b7bbedad71f1c5a6a288cf124579bf76142171e5ce5421c44952cbb',
    '4d8a276e22d085b583e2c3d8bfaed18f4b10e482c029455c735d96573879743c',
  ];

  it('reads as what it has always said: a fold with frames in packs of two points', () => {
    const layer = decodeLayer(name, bytes);
    expect({ ...layer, hashes: Buffer.from(layer.hashes).toString('hex') }).toEqual({
      packs,
      frames: [
        { pack: 0, offset: 16, storedBytes: 32_768, blocks: 2, codec: 0 },
        { pack: 1, offset: 16, storedBytes: 34, blocks: 1, codec: 1 },
      ],
      extents: [
        { start: 1, count: 1, frame: 0, slot: 0 },
        { start: 2, count: 1, frame: 1, slot: 0 },
      ],
      hashes: hashes.join(''),
    });
  });

  it('is, byte for byte, what the format page says', () => {
    const header = unspaced('5354524154414c59 0100 0000 a6000000 14010000 02000000 0000000000000000');
    expect(bytes.subarray(0, 32).toString('hex')).toBe(header);
    const text = (value: string): string => '6100' + Buffer.from(value).toString('hex');
    const map = zstdDecompressSync(bytes.subarray(96, 96 + 0xa6)).toString('hex');
    expect(map).toBe(
      [
        ['02000000', text(packs[0]!.name), '54800000', text(packs[1]!.name), '72000000'],
        [
          '02000000',
          '00000000',
          '01000000',
          '10000000',
          '10000000',
          '00800000',
          '22000000',
          '0200',
          '0100',
          '00',
          '01',
        ],
        ['02000000', '01000000', '00000000', '01000000', '01000000', '01000000', '02000000', '0000', '0000'],
      ]
        .flat()
        .join(''),
    );
    expect(bytes.subarray(96 + 0xa6).toString('hex')).toBe(hashes.join(''));
  });
});

it('a golden layer of cleared blocks alone has no packs, frames or hashes', () => {
  const { name, bytes } = goldenBlob(V1, '7902699b/17674416000000000/000001.e29c9c180c6279b0.layer');
  const { hashes, ...rest } = decodeLayer(name, bytes);
  expect(rest).toEqual({ packs: [], frames: [], extents: [{ start: 0, count: 3, frame: CLEARED, slot: 0 }] });
  expect(hashes).toHaveLength(0);
});
