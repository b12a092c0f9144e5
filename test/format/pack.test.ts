import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { CODEC, type StoredFrame, decodeFrame, encodeFrame } from '../../shared/format/frame.ts';
import {
  PACK_HEADER_BYTES,
  PackBuilder,
  packHeader,
  packTail,
  readPackTable,
  readPackTail,
} from '../../shared/format/pack.ts';
import { codeOf, flips, truncations, unspaced } from './failures.ts';
import { V1, goldenBlob, goldenBlobs } from './golden-vault.ts';

const NAME = 'v1/items/vm/disks/d/00000000000000007/000003.0123456789abcdef.01234567.0.pack';

const frames = fc.array(
  fc.record({
    codec: fc.constantFrom(...Object.values(CODEC)),
    bytes: fc.uint8Array({ maxLength: 40 }),
    blocks: fc.array(fc.nat(65_535), { maxLength: 5 }),
  }),
  { maxLength: 6 },
);

function packOf(name: string, some: readonly (StoredFrame & { blocks: readonly number[] })[]): Uint8Array {
  const builder = new PackBuilder();
  for (const { blocks, ...frame } of some) builder.add(frame, blocks);
  return builder.finish(name);
}

const FOOTER = 48;
const small = packOf(NAME, [
  { codec: CODEC.raw, bytes: Buffer.from('first'), blocks: [1, 2] },
  { codec: CODEC.zstd, bytes: Buffer.from('second'), blocks: [7] },
]);
const tableAt = small.length - FOOTER - 2 * 12 - 3 * 4;

/** A pack whose table passes its checksum whatever it holds. */
function signed(table: Uint8Array, frameCount: number): Buffer {
  const header = Buffer.alloc(16);
  header.write('STRATAPK\x01', 'latin1');
  const footer = Buffer.alloc(FOOTER);
  footer.writeUInt32LE(frameCount, 0);
  footer.writeUInt32LE(table.length, 4);
  footer.set(createHash('sha256').update(`${NAME}\n`).update(table).digest(), 8);
  footer.write('STRATAPK', 40, 'latin1');
  return Buffer.concat([header, table, footer]);
}

describe('the end of a pack', () => {
  const table = readPackTable(NAME, small);
  const needed = small.length - tableAt;

  it('is enough to know its frames', () => {
    for (let length = needed; length <= small.length; length++)
      expect(readPackTail(NAME, small.subarray(small.length - length), small.length)).toEqual(table);
  });

  it('says how much of it is needed, where that is more than was read', () => {
    for (let length = FOOTER; length < needed; length++)
      expect(readPackTail(NAME, small.subarray(small.length - length), small.length)).toBe(needed);
  });

  it('is refused when it is damaged, of another pack, or of another size', () => {
    const tail = small.subarray(tableAt);
    const read = (name: string, bytes: Uint8Array, total: number) => codeOf(() => readPackTail(name, bytes, total));
    for (const { damaged, bit } of flips(tail)) {
      // The length of the table may be what is damaged: then more is asked for, and nothing is answered as true.
      const code = codeOf(() => expect(readPackTail(NAME, damaged, small.length), `bit ${bit}`).toBeTypeOf('number'));
      expect(['none', 'PackCorrupt']).toContain(code);
    }
    expect(read(NAME.replace('000003', '000004'), tail, small.length)).toBe('PackCorrupt');
    expect(read(NAME, tail, small.length + 1)).toBe('PackCorrupt');
    expect(read(NAME, tail.subarray(1 - FOOTER), small.length)).toBe('PackCorrupt');
  });

  it('makes a pack of frames that lie elsewhere', () => {
    const copied = [packHeader(), small.subarray(PACK_HEADER_BYTES, tableAt), packTail(NAME, table)];
    expect(Buffer.concat(copied)).toEqual(Buffer.from(small));
  });
});

describe('a pack', () => {
  it('tells its frames, and they are where it says', () => {
    fc.assert(
      fc.property(frames, (some) => {
        const pack = packOf(NAME, some);
        const table = readPackTable(NAME, pack);
        expect(table.map(({ codec, blocks }) => ({ codec, blocks }))).toEqual(
          some.map(({ codec, blocks }) => ({ codec, blocks })),
        );
        expect(
          table.map(({ offset, storedBytes }) => Buffer.from(pack.subarray(offset, offset + storedBytes))),
        ).toEqual(some.map(({ bytes }) => Buffer.from(bytes)));
      }),
    );
  });

  it('says while it is built where the next frame will lie', () => {
    const builder = new PackBuilder();
    expect(builder.storedBytes).toBe(PACK_HEADER_BYTES);
    expect(builder.add({ codec: CODEC.raw, bytes: new Uint8Array(10) }, [0])).toBe(0);
    expect(builder.storedBytes).toBe(PACK_HEADER_BYTES + 10);
    expect(builder.add({ codec: CODEC.raw, bytes: new Uint8Array(5) }, [1])).toBe(1);
    expect(builder.frames.map(({ offset }) => offset)).toEqual([16, 26]);
  });

  it('that is cut anywhere is refused', () => {
    for (const cut of truncations(small)) expect(codeOf(() => readPackTable(NAME, cut))).toBe('PackCorrupt');
  });

  it('with any bit of its table or footer flipped is refused', () => {
    expect(codeOf(() => readPackTable(NAME, small))).toBe('none');
    for (const { damaged } of flips(small, tableAt))
      expect(codeOf(() => readPackTable(NAME, damaged))).toBe('PackCorrupt');
  });

  it('with any bit of its magic or version flipped is refused', () => {
    for (const { bit, damaged } of flips(small, 0, 10)) {
      expect(codeOf(() => readPackTable(NAME, damaged))).toBe(bit < 64 ? 'PackCorrupt' : 'FormatUnsupported');
    }
  });

  it('under another name is refused', () => {
    expect(codeOf(() => readPackTable(NAME.replace('.0.pack', '.1.pack'), small))).toBe('PackCorrupt');
  });

  it('whose table does not fit is refused, though its checksum is good', () => {
    const entry = (offset: number, storedBytes: number, blocks: number): Buffer => {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt32LE(offset, 0);
      bytes.writeUInt32LE(storedBytes, 4);
      bytes.writeUInt16LE(blocks, 8);
      return bytes;
    };
    expect(codeOf(() => readPackTable(NAME, signed(Buffer.alloc(0), 0)))).toBe('none');
    expect(codeOf(() => readPackTable(NAME, signed(entry(16, 0, 0), 1)))).toBe('none');
    const bad: [Buffer, number][] = [
      [Buffer.alloc(0), 1],
      [Buffer.alloc(0), 4_294_967_295],
      [entry(16, 0, 0), 0],
      [entry(16, 0, 0), 2],
      [entry(16, 0, 65_535), 1],
      [entry(16, 5, 0), 1],
      [entry(0, 16, 0), 1],
      [entry(17, 0, 0), 1],
      [Buffer.alloc(11), 1],
    ];
    for (const [table, count] of bad)
      expect(codeOf(() => readPackTable(NAME, signed(table, count)))).toBe('PackCorrupt');
  });

  it('of random bytes is refused, with a good checksum too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(9), (bytes, count) => {
        expect(codeOf(() => readPackTable(NAME, bytes))).toBe('PackCorrupt');
        // Nobody's random bytes hold frames of the length zero at 16 alone.
        expect(codeOf(() => readPackTable(NAME, signed(bytes, count + 1)))).toBe('PackCorrupt');
      }),
    );
  });
});

describe('a frame', () => {
  const blocks = fc.integer({ min: 1, max: 4 }).chain((count) =>
    fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 64 })).map(([fill, noise]) => {
      const raw = Buffer.alloc(count * BLOCK_BYTES, fill);
      raw.set(noise, 100);
      return raw;
    }),
  );

  it('comes back as it was', () => {
    fc.assert(
      fc.property(blocks, (raw) => {
        const { codec, bytes } = encodeFrame(raw);
        expect(
          Buffer.compare(
            decodeFrame(bytes, codec, raw.length / BLOCK_BYTES, () => 'frame'),
            raw,
          ),
        ).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  const zeros = encodeFrame(Buffer.alloc(2 * BLOCK_BYTES));
  const noise = Buffer.concat(
    Array.from({ length: BLOCK_BYTES / 32 }, (_, i) => createHash('sha256').update(`${i}`).digest()),
  );

  it('that does not compress is stored as it is', () => {
    expect(encodeFrame(noise)).toEqual({ codec: CODEC.raw, bytes: noise });
    expect(zeros.codec).toBe(CODEC.zstd);
  });

  it('with any bit flipped, or cut anywhere, is refused where it is compressed', () => {
    for (const cut of truncations(zeros.bytes))
      expect(codeOf(() => decodeFrame(cut, CODEC.zstd, 2, () => 'frame'))).toBe('PackCorrupt');
    for (const { bit, damaged } of flips(zeros.bytes)) {
      // A bit or two of the frame's header may change nothing: then nothing else changes either.
      const code = codeOf(() => decodeFrame(damaged, CODEC.zstd, 2, () => `frame, bit ${bit}`));
      if (code === 'none')
        expect(
          Buffer.compare(
            decodeFrame(damaged, CODEC.zstd, 2, () => 'frame'),
            Buffer.alloc(2 * BLOCK_BYTES),
          ),
        ).toBe(0);
      else expect(code).toBe('PackCorrupt');
    }
  });

  it('of another size than its layer says is refused', () => {
    for (const count of [0, 1, 3, 256])
      expect(codeOf(() => decodeFrame(zeros.bytes, CODEC.zstd, count, () => 'frame'))).toBe('PackCorrupt');
    for (const count of [0, 2])
      expect(codeOf(() => decodeFrame(noise, CODEC.raw, count, () => 'frame'))).toBe('PackCorrupt');
  });

  it('with a codec that nobody knows is refused', () => {
    for (const codec of [2, 255]) expect(codeOf(() => decodeFrame(noise, codec, 1, () => 'frame'))).toBe('PackCorrupt');
  });

  it('of random bytes is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const magic = Buffer.concat([Buffer.from('28b52ffd', 'hex'), bytes]);
        for (const some of [bytes, magic])
          expect(codeOf(() => decodeFrame(some, CODEC.zstd, 1, () => 'frame'))).toBe('PackCorrupt');
      }),
    );
  });
});

describe('golden packs', () => {
  it('say of themselves what they hold', () => {
    const { name, bytes } = goldenBlob(V1, '7902699b/17675280600000000/000001.9f14025af0065b30.0b918943.0.pack');
    expect(readPackTable(name, bytes)).toEqual([{ offset: 16, storedBytes: 32, codec: 1, blocks: [3] }]);
    expect(bytes.subarray(0, 16).toString('hex')).toBe(unspaced('535452415441504b 0100 000000000000'));
    expect(bytes.subarray(48, 64).toString('hex')).toBe(unspaced('10000000 20000000 0100 01 00 03000000'));
    expect(bytes.subarray(64, 72).toString('hex')).toBe(unspaced('01000000 10000000'));
    expect(bytes.subarray(104).toString('latin1')).toBe('STRATAPK');
    const block = decodeFrame(bytes.subarray(16, 48), 1, 1, () => name);
    expect(Buffer.from(block.subarray(0, 1024)).equals(Buffer.alloc(1024, 'grown\n'))).toBe(true);
    expect(Buffer.from(block.subarray(1024)).equals(Buffer.alloc(BLOCK_BYTES - 1024))).toBe(true);
  });

  it('all read, and there are raw and compressed frames among them', () => {
    const packs = [...goldenBlobs(V1)].filter(([name]) => name.endsWith('.pack'));
    const codecs = new Set(packs.flatMap(([name, bytes]) => readPackTable(name, bytes).map(({ codec }) => codec)));
    expect(codecs).toEqual(new Set([CODEC.raw, CODEC.zstd]));
  });
});
