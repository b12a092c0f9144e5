import { setImmediate as soon } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ByteRange } from '../../shared/domain/units.ts';
import { readAhead } from '../../shared/services/read-ahead.ts';

const KIB = 1024;
/** Pieces of many lengths, some of more than any buffer that is kept. */
const pieces = Array.from({ length: 60 }, (_, i) => {
  const bytes = i % 30 === 9 ? 9 * KIB * KIB : [16 * KIB, 300 * KIB, 256 * KIB][i % 3]!;
  return { range: { start: i * KIB * KIB * KIB, end: i * KIB * KIB * KIB + bytes } };
});

/** Fills the buffer, later reads sometimes before earlier ones; what is read tells where it was read. */
async function readInto({ start, end }: ByteRange, into: Uint8Array): Promise<Uint8Array> {
  for (let wait = (start / KIB ** 3) % 3; wait >= 0; wait--) await soon();
  return into.subarray(0, end - start).fill((start / KIB ** 3) % 251);
}

describe('reading ahead', () => {
  it('yields each piece’s own bytes, in order, though memory is used again by several readers', async () => {
    const memory = new Set<ArrayBufferLike>();
    const reader = async (): Promise<void> => {
      let next = 0;
      for await (const { piece, bytes } of readAhead(pieces, readInto)) {
        expect(piece).toBe(pieces[next]);
        await soon(); // others read meanwhile
        await soon();
        expect(bytes.length).toBe(piece.range.end - piece.range.start);
        expect(Buffer.compare(bytes, Buffer.alloc(bytes.length, next % 251))).toBe(0);
        memory.add(bytes.buffer);
        next += 1;
      }
      expect(next).toBe(pieces.length);
    };
    await Promise.all([reader(), reader().then(reader)]);
    expect(memory.size).toBeLessThan(pieces.length);
  });

  it('takes bytes that lie elsewhere as they are', async () => {
    const elsewhere = Uint8Array.of(1, 2, 3);
    for await (const { bytes } of readAhead([{ range: { start: 0, end: 3 } }], async () => elsewhere))
      expect(bytes).toBe(elsewhere);
  });

  it('never uses the memory of a read that failed or was left: such a read may still write to it', async () => {
    const left: Uint8Array[] = [];
    const failing = readAhead(pieces.slice(0, 4), async (range, into) => {
      left.push(into);
      if (range === pieces[1]!.range) throw new Error('no such range');
      return into;
    });
    await expect(Array.fromAsync(failing)).rejects.toThrow('no such range');
    const [, ...unseen] = left;
    for await (const _ of readAhead(pieces, async (range, into) => {
      expect(unseen.includes(into)).toBe(false);
      return readInto(range, into);
    }))
      void _;
  });
});
