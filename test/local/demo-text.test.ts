import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { bar, countText, paint, sizeText, tableLines, timeText } from '../../cli/demo/text.ts';

const plain = paint(false);

describe('the demo’s texts', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '0.98 KiB'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [16 * 1024, '16 KiB'],
    [256 * 2 ** 20, '256 MiB'],
    [6 * 2 ** 30 + 512, '6 GiB'],
    [8 * 2 ** 40, '8 TiB'],
  ])('writes %i bytes as %s', (bytes, text) => expect(sizeText(bytes)).toBe(text));

  it('sets thousands apart', () =>
    expect([0, 999, 1000, 1234567].map(countText)).toEqual(['0', '999', '1,000', '1,234,567']));

  it('writes times in UTC', () => expect(timeText(Date.UTC(2026, 10, 23, 2))).toBe('2026-11-23 02:00'));

  it.each([
    [-1, '····'],
    [0, '····'],
    [0.5, '██··'],
    [0.28, '█▏··'],
    [1, '████'],
    [7, '████'],
  ])('draws a bar for %d', (fraction, text) => expect(bar(fraction, 4)).toBe(text));

  it('aligns a table, whatever the colours of its cells', () => {
    const columns = [
      { title: 'State', align: 'left' },
      { title: 'Size', align: 'right' },
    ] as const;
    const lines = tableLines(
      columns,
      [
        [paint(true).green('Vault'), '1'],
        ['Snapshot', '1,000'],
      ],
      plain,
    );
    expect(lines.map(stripVTControlCharacters)).toEqual([
      'State      Size',
      '───────────────',
      'Vault         1',
      'Snapshot  1,000',
    ]);
  });
});
