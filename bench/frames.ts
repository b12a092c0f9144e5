/**
 * `node bench/frames.ts`: what the length of a frame and the level of zstd cost and save. Long frames compress better; who wants
 * one block of a frame has to read and unpack all of it. Times are CPU times of this process, one thread.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { content } from './disk-content.ts';

const KIB = 1024;
const SAMPLE_BYTES = 64 * KIB * KIB;
const FRAMES_KIB = [16, 64, 128, 256, 512, 1024];
const LEVELS = [1, 2, 3];
const UNPACKED = 200;

/** CPU seconds that `work` takes. */
function cpuSeconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const sample = content('frames', SAMPLE_BYTES);
console.log('frame KiB  level  left    MiB/s packed  KiB read and ms to unpack for one block');
for (const kib of FRAMES_KIB) {
  for (const level of LEVELS) {
    const bytes = kib * KIB;
    const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 };
    const frames: Buffer[] = [];
    const packing = cpuSeconds(() => {
      for (let at = 0; at < sample.length; at += bytes) {
        frames.push(zstdCompressSync(sample.subarray(at, at + bytes), { params, chunkSize: bytes + 64 }));
      }
    });
    const stored = frames.reduce((sum, { length }) => sum + length, 0);
    const unpacking = cpuSeconds(() => {
      for (let i = 0; i < UNPACKED; i++)
        zstdDecompressSync(frames[(i * 7) % frames.length]!, { chunkSize: bytes + 64 });
    });
    const columns = [
      `${kib}`.padStart(9),
      `${level}`.padStart(5),
      (stored / sample.length).toFixed(3),
      (SAMPLE_BYTES / KIB / KIB / packing).toFixed(0).padStart(13),
      (stored / frames.length / KIB).toFixed(0).padStart(10),
      ((unpacking * 1e3) / UNPACKED).toFixed(2).padStart(8),
    ];
    console.log(columns.join('  '));
  }
}
