import { describe, expect, it } from 'vitest';
import { diskInside, fixedFooter, FOOTER_BYTES, isFooter } from '../../shared/domain/vhd-footer.ts';

const MIB = 1_048_576;

describe('the footer of a fixed VHD', () => {
  it('is known by its cookie and its checksum, at any place of a buffer', () => {
    const footer = fixedFooter(30 * MIB, Date.UTC(2026, 10, 22), 'disk-1');
    expect(footer).toHaveLength(FOOTER_BYTES);
    expect(isFooter(footer)).toBe(true);
    expect(isFooter(Buffer.concat([Buffer.alloc(7), footer]).subarray(7))).toBe(true);
    for (const at of [0, 40, 64, 68, 511]) {
      const other = Buffer.from(footer);
      other[at] = other[at]! ^ 1;
      expect(isFooter(other), `byte ${at}`).toBe(false);
    }
    expect(isFooter(Buffer.alloc(FOOTER_BYTES))).toBe(false);
    expect(isFooter(footer.subarray(0, 511))).toBe(false);
  });

  it('is the same for whoever writes it again, and another for another disk', () => {
    const footer = fixedFooter(30 * MIB, 0, 'disk-1');
    expect(fixedFooter(30 * MIB, 0, 'disk-1')).toEqual(footer);
    expect(fixedFooter(30 * MIB, 0, 'disk-2').subarray(68, 84)).not.toEqual(footer.subarray(68, 84));
    expect(footer.readBigUInt64BE(40)).toBe(BigInt(30 * MIB));
    expect(footer.readBigUInt64BE(48)).toBe(BigInt(30 * MIB));
  });

  it('is taken off a disk that has one', () => {
    expect(diskInside(MIB + 512, fixedFooter(MIB, 0))).toBe(MIB);
    expect(diskInside(MIB + 512, Buffer.alloc(512))).toBe(MIB + 512);
    expect(diskInside(512, fixedFooter(0, 0))).toBe(512);
  });
});
