import { constants, createZstdCompress } from 'node:zlib';
import { CODEC, type FrameEncoder, ZSTD_PARAMS } from './frame.ts';

/** zlib hands out its output in pieces of a buffer of this size: longer than frames, so that few are split between two. */
const OUTPUT_BYTES = 1024 * 1024;

/**
 * Compresses frames, one after another, on a thread of the pool, with one context for all of them: the same bytes as `encodeFrame`
 * makes. The next frame may come when the last one has resolved. What it holds goes with the garbage.
 */
export function frameStream(): FrameEncoder {
  // Every write ends a frame.
  const stream = createZstdCompress({ params: ZSTD_PARAMS, flush: constants.ZSTD_e_end, chunkSize: OUTPUT_BYTES });
  let parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('error', () => undefined); // told by the write that met it
  return async (blocks) => {
    await new Promise<void>((resolve, reject) => {
      stream.write(blocks, (error) => (error ? reject(error) : resolve()));
    });
    const packed = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    parts = [];
    return packed.length < blocks.length ? { codec: CODEC.zstd, bytes: packed } : { codec: CODEC.raw, bytes: blocks };
  };
}
