import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { reportLines } from '../../cli/demo/report.ts';
import { type DemoOutcome, isAllRight, jsonOf, type PointHistory, totalsOf } from '../../cli/demo/result.ts';
import { openScreen } from '../../cli/demo/screen.ts';
import { paint } from '../../cli/demo/text.ts';

const DAY = 86_400_000;

function point(day: number, change: Partial<PointHistory> = {}): PointHistory {
  return {
    name: `10${day}`,
    time: Date.UTC(2026, 10, 20 + day, 2),
    trigger: 'night',
    kind: 'incremental',
    sizeBytes: 6.33 * 2 ** 30,
    dataBlocks: 65_536,
    clearedBlocks: 64,
    writtenBytes: 2 ** 28 + 7,
    expires: Date.UTC(2026, 10, 20 + day, 2) + 7 * DAY,
    labels: ['Snapshot', 'Snapshot and vault', 'Vault'],
    now: { label: 'Vault', tier: 'VaultStandard', storedBytes: 2 ** 28 },
    ...change,
  };
}

const outcome: DemoOutcome = {
  points: [
    point(1, { kind: 'full', now: undefined }),
    point(2, { trigger: 'on demand' }),
    point(3, { now: { label: 'Snapshot and vault', tier: 'SnapshotAndVaultStandard', storedBytes: 2 ** 29 } }),
  ],
  restores: [{ point: '103', disk: 'files', equal: true, readBytes: 2 ** 28, difference: undefined }],
  faults: [],
  vaultWrites: 300,
  mergeSeconds: 1.5,
  merges: 1,
  totalSeconds: 80,
};

describe('the demo’s result', () => {
  it('adds up', () =>
    expect(totalsOf(outcome)).toEqual({
      changedBytes: 3 * 2 ** 30,
      writtenBytes: 3 * 2 ** 28 + 21,
      storedBytes: 3 * 2 ** 28,
      compression: 4,
      vaultWrites: 300,
      requestsPerGiB: 100,
      mergeSeconds: 1.5,
      merges: 1,
    }));

  it('is right only when nothing is missing and every disk is equal', () => {
    expect(isAllRight(outcome)).toBe(true);
    expect(isAllRight({ ...outcome, restores: [] })).toBe(false);
    expect(isAllRight({ ...outcome, faults: ['no recovery point expired'] })).toBe(false);
    const [restore] = outcome.restores;
    expect(isAllRight({ ...outcome, restores: [{ ...restore!, equal: false, difference: '1 block' }] })).toBe(false);
  });

  it('is JSON with the points that are there, and apart from them those that were merged', () => {
    const json = jsonOf(outcome) as { points: object[]; merged: object[] };
    expect(json).toMatchObject({
      ok: true,
      restores: [{ point: '103', disk: 'files', equal: true }],
      totals: { changedBytes: 3 * 2 ** 30, storedBytes: 3 * 2 ** 28, requestsPerGiB: 100, mergeSeconds: 1.5 },
    });
    expect(json.points).toHaveLength(2);
    expect(json.points[0]).toMatchObject({
      name: '102',
      label: 'Vault',
      tier: 'VaultStandard',
      sizeBytes: 6.33 * 2 ** 30,
      changedBlocks: 65_600,
      storedBytes: 2 ** 28,
      expires: '2026-11-29T02:00:00.000Z',
    });
    expect(json.merged).toMatchObject([{ name: '101', kind: 'full' }]);
  });

  it.each([undefined, 0.02])('fits into 100 columns (price %s)', (price) => {
    const lines = reportLines(outcome, price, paint(false));
    for (const line of lines) expect([line, line.length <= 100]).toEqual([line, true]);
    expect(lines.join('\n')).toContain('Snapshot and vault');
    expect(lines.at(-1)).toBe('All was right.');
  });

  it('names what was wrong', () => {
    const restores = [{ point: '103', disk: 'sparse', equal: false, readBytes: 9, difference: '2 blocks differ' }];
    const text = reportLines({ ...outcome, restores, faults: ['no merge'] }, undefined, paint(false)).join('\n');
    expect(text).toMatch(/✗ restored .* sparse .*2 blocks differ/);
    expect(text).toMatch(/✗ no merge\nSomething was not right\.$/);
  });
});

describe('the demo’s screen', () => {
  const written = (isTTY: boolean, env = {}) => {
    let text = '';
    const screen = openScreen({ write: (part) => (text += part), isTTY, columns: 60 }, env);
    const step = screen.step('Night  1');
    step.progress(0.5, 'half of it, and a note that is much longer than this terminal is wide');
    step.done('fine');
    return text;
  };

  it('writes one plain line for a step where there is no terminal', () =>
    expect(written(false)).toMatch(/^✓ Night {2}1 +\d+\.\d s {2}fine\n$/));

  it('draws a line that moves on a terminal, never wider than it', () => {
    const text = written(true);
    expect(text).toContain('\r\u001b[2K');
    for (const part of text.split('\r')) expect(stripVTControlCharacters(part).trimEnd().length).toBeLessThan(60);
  });

  it('has no colours where nobody wants them', () =>
    expect(written(true, { NO_COLOR: '1' })).not.toContain('\u001b[3'));
});
