import { createCipheriv } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { frameStream } from '../../shared/format/frame-stream.ts';
import { CODEC, decodeFrame, encodeFrame } from '../../shared/format/frame.ts';

/** A frame of 1 to 16 blocks, part noise and part words, that depends on `seed` alone. */
function frame(seed: number): Buffer {
  const bytes = Buffer.alloc((1 + (seed % 16)) * BLOCK_BYTES, `words of frame ${seed}, again and again; `);
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(
    Buffer.alloc(bytes.length),
  );
  noise.copy(bytes, 0, 0, Math.floor((bytes.length * (seed % 5)) / 4));
  return bytes;
}

describe('a frame stream', () => {
  it('makes what encodeFrame makes, frame by frame, also where its output goes on in another buffer', async () => {
    const encode = frameStream();
    let storedBytes = 0;
    for (let seed = 0; seed < 64; seed++) {
      const raw = frame(seed);
      const { codec, bytes } = await encode(raw);
      const known = encodeFrame(raw);
      expect(codec).toBe(known.codec);
      expect(known.codec === CODEC.raw || Buffer.compare(bytes, known.bytes) === 0).toBe(true);
      expect(
        Buffer.compare(
          decodeFrame(bytes, codec, raw.length / BLOCK_BYTES, () => 'frame'),
          raw,
        ),
      ).toBe(0);
      storedBytes += bytes.length;
    }
    expect(storedBytes).toBeGreaterThan(3 * 1024 * 1024);
  });

  it('gives back the very bytes that it was given where compressing them saves nothing', async () => {
    const raw = frame(4);
    expect(await frameStream()(raw)).toEqual({ codec: CODEC.raw, bytes: raw });
  });
});
