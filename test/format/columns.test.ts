import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { ColumnReader, ColumnWriter } from '../../shared/format/columns.ts';
import { unspaced } from './failures.ts';

it('reads back what was written, column by column', () => {
  const columns = fc.record({
    u8: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 9 }),
    u16: fc.array(fc.integer({ min: 0, max: 65_535 }), { maxLength: 9 }),
    u32: fc.array(fc.integer({ min: 0, max: 4_294_967_295 }), { maxLength: 3000 }),
    text: fc.string({ unit: 'grapheme', maxLength: 40 }),
  });
  fc.assert(
    fc.property(columns, ({ u8, u16, u32, text }) => {
      const writer = new ColumnWriter();
      writer.text(text);
      for (const value of u32) writer.u32(value);
      for (const value of u16) writer.u16(value);
      for (const value of u8) writer.u8(value);
      const reader = new ColumnReader(writer.finish());
      expect(reader.text()).toBe(text);
      expect([...reader.u32s(u32.length)]).toEqual(u32);
      expect([...reader.u16s(u16.length)]).toEqual(u16);
      expect([...reader.u8s(u8.length)]).toEqual(u8);
      reader.end();
    }),
  );
});

it('is little-endian, a text behind its length in bytes', () => {
  const writer = new ColumnWriter();
  writer.u32(0x01020304);
  writer.u16(0x0506);
  writer.u8(7);
  writer.text('é');
  expect(Buffer.from(writer.finish()).toString('hex')).toBe(unspaced('0403020106050702 00c3a9'));
});

it('refuses to read past the end, and to leave something over', () => {
  const reader = new ColumnReader(new Uint8Array(6));
  expect(() => reader.u32s(4_294_967_295)).toThrow(RangeError);
  reader.u32();
  expect(() => reader.u32()).toThrow(RangeError);
  expect(() => reader.end()).toThrow(RangeError);
  expect(reader.text()).toBe('');
  reader.end();
});
