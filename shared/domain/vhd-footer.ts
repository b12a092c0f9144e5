import { createHash } from 'node:crypto';

/** A fixed VHD is the disk followed by this many bytes that describe it. */
export const FOOTER_BYTES = 512;

const COOKIE = 'conectix';
const SECTOR_BYTES = 512;
const CHECKSUM_OFFSET = 64;
/** VHD times count seconds from here. */
const EPOCH_MS = Date.UTC(2000, 0, 1);

/** Whether 512 bytes are a VHD footer whose checksum is right. */
export function isFooter(footer: Uint8Array): boolean {
  const bytes = Buffer.from(footer.buffer, footer.byteOffset, footer.byteLength);
  return (
    bytes.length === FOOTER_BYTES &&
    bytes.toString('latin1', 0, COOKIE.length) === COOKIE &&
    bytes.readUInt32BE(CHECKSUM_OFFSET) === checksum(bytes)
  );
}

/**
 * The footer of a fixed VHD of `sizeBytes`, all numbers big-endian. Its unique id follows from `seed`, size and time, so that whoever
 * writes the same footer again writes the same bytes.
 * Layout: Virtual Hard Disk Image Format Specification, 1.0 (Microsoft, 2006), "Hard Disk Footer Format".
 */
export function fixedFooter(sizeBytes: number, nowMs: number, seed = ''): Buffer {
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.write(COOKIE, 0, 'latin1');
  footer.writeUInt32BE(2, 8); // features: the reserved bit, always set
  footer.writeUInt32BE(0x0001_0000, 12); // format version 1.0
  footer.fill(0xff, 16, 24); // data offset: none in a fixed disk
  footer.writeUInt32BE(Math.max(0, Math.floor((nowMs - EPOCH_MS) / 1000)), 24);
  footer.write('strt', 28, 'latin1'); // creator application
  footer.writeUInt32BE(0x0001_0000, 32); // creator version
  footer.write('Wi2k', 36, 'latin1'); // creator host system
  footer.writeBigUInt64BE(BigInt(sizeBytes), 40); // original size
  footer.writeBigUInt64BE(BigInt(sizeBytes), 48); // current size
  const { cylinders, heads, sectors } = geometry(sizeBytes);
  footer.writeUInt16BE(cylinders, 56);
  footer.writeUInt8(heads, 58);
  footer.writeUInt8(sectors, 59);
  footer.writeUInt32BE(2, 60); // disk type: fixed
  createHash('sha256').update(`${seed} ${sizeBytes} ${nowMs}`).digest().copy(footer, 68, 0, 16); // unique id
  footer.writeUInt32BE(checksum(footer), CHECKSUM_OFFSET);
  return footer;
}

/** One's complement of the sum of all bytes but the checksum's own four. */
function checksum(footer: Buffer): number {
  let sum = 0;
  for (const [index, byte] of footer.entries()) {
    if (index < CHECKSUM_OFFSET || index >= CHECKSUM_OFFSET + 4) sum += byte;
  }
  return ~sum >>> 0;
}

/** Cylinders, heads and sectors per track by the specification's appendix; capped at about 127 GiB. */
function geometry(sizeBytes: number): { cylinders: number; heads: number; sectors: number } {
  const total = Math.min(Math.floor(sizeBytes / SECTOR_BYTES), 65535 * 16 * 255);
  if (total >= 65535 * 16 * 63) return { cylinders: Math.floor(total / (16 * 255)), heads: 16, sectors: 255 };
  const heads17 = Math.max(4, Math.ceil(Math.floor(total / 17) / 1024));
  if (heads17 <= 16 && Math.floor(total / 17) < heads17 * 1024) {
    return { cylinders: Math.floor(total / 17 / heads17), heads: heads17, sectors: 17 };
  }
  if (Math.floor(total / 31) < 16 * 1024) return { cylinders: Math.floor(total / 31 / 16), heads: 16, sectors: 31 };
  return { cylinders: Math.floor(total / 63 / 16), heads: 16, sectors: 63 };
}

/** The disk inside of a page blob that ends in `lastSector`: without the footer where it is a fixed VHD, else all of it. */
export function diskInside(blobBytes: number, lastSector: Uint8Array): number {
  return blobBytes > FOOTER_BYTES && isFooter(lastSector) ? blobBytes - FOOTER_BYTES : blobBytes;
}
