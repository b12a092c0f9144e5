import { describe, expect, it } from 'vitest';
import { EVERY_DISK, MOST_FORMER, latestUrls, unlistedUrls } from '../../shared/services/url-list.ts';

/** What a property of a row takes. */
const MOST_CHARACTERS = 32_000;
/** The longest names that Azure lets a container and a blob have, with characters that JSON escapes. */
const longest = (i: number): string => `https://account${i}.example/${'c'.repeat(63)}/${'"'.repeat(1020)}${i}`;
const short = (i: number): string => `https://disks.example/vhds/vm-${i}.vhd`;
const many = (url: (i: number) => string, count: number): string[] => Array.from({ length: count }, (_, i) => url(i));

describe("a row's list of disks", () => {
  it('has each once, where it was seen last, and the last when there are many', () => {
    expect(latestUrls(['a', 'b', 'a'])).toEqual(['b', 'a']);
    expect(latestUrls(many(short, 100))).toEqual(many(short, 100).slice(-MOST_FORMER));
    expect(latestUrls(many(short, 100), Infinity)).toEqual(many(short, 100));
    expect(latestUrls([])).toEqual([]);
  });

  it.each([short, longest])('fits into a property however many there are', (url) => {
    const kept = latestUrls(many(url, 5000), Infinity);
    expect(JSON.stringify(kept).length).toBeLessThan(MOST_CHARACTERS);
    expect(JSON.stringify(kept).length).toBeGreaterThan(MOST_CHARACTERS - 5000);
    expect(kept.at(-1)).toBe(url(4999));
  });
});

it('disks that could not be listed are all named, or all meant', () => {
  expect(unlistedUrls(many(short, 100))).toEqual(many(short, 100));
  expect(unlistedUrls(many(longest, 100))).toEqual([EVERY_DISK]);
});
