import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { type DemoOutcome, isAllRight, type PointHistory, totalsOf } from './result.ts';
import { type Column, countText, type Paint, sizeText, tableLines, timeText } from './text.ts';

const NOTHING = '–';

/** What the demo prints at its end: a line for each point, the restores, the totals. At most 100 columns wide. */
export function reportLines(outcome: DemoOutcome, pricePerGib: number | undefined, colours: Paint): string[] {
  const totals = totalsOf(outcome);
  const { points, restores, faults } = outcome;
  const left = (title: string): Column => ({ title, align: 'left' });
  const right = (title: string): Column => ({ title, align: 'right' });
  const columns: Column[] = [
    ...['Taken (UTC)', 'Type', 'State'].map(left),
    ...['Size', 'Blocks', 'Cleared'].map(right),
    // What a point costs: when it was made, and now that expired points may have left it what it still needs. A price takes
    // the room of the first.
    ...['Written', 'Stored'].slice(pricePerGib === undefined ? 0 : 1).map(right),
    ...(pricePerGib === undefined ? [] : [right('A month')]),
    left('Expires'),
  ];
  const rows = points.map((point) => {
    const { now, expires } = point;
    const cells = [
      timeText(point.time).slice(5),
      typeOf(point),
      stateOf(point, colours),
      sizeText(point.sizeBytes),
      countText(point.dataBlocks),
      countText(point.clearedBlocks),
      ...(pricePerGib === undefined ? [sizeText(point.writtenBytes)] : []),
      now === undefined ? NOTHING : sizeText(now.storedBytes),
      ...(pricePerGib === undefined ? [] : [now === undefined ? NOTHING : priceText(now.storedBytes, pricePerGib)]),
      expires === undefined ? 'never' : timeText(expires).slice(5, 10),
    ];
    return now === undefined ? cells.map((cell) => colours.dim(cell)) : cells;
  });
  const monthly =
    pricePerGib === undefined ? '' : `: ${priceText(totals.storedBytes, pricePerGib)} a month at ${pricePerGib} a GiB`;
  const facts: [string, string][] = [
    ['changed', `${sizeText(totals.changedBytes)} in blocks of ${sizeText(BLOCK_BYTES)}, the first backup with them`],
    [
      'written',
      `${sizeText(totals.writtenBytes)}: compressed to 1/${totals.compression.toFixed(2)} of what had changed`,
    ],
    ['stored', `${sizeText(totals.storedBytes)} in the vault for the points that are left${monthly}`],
    [
      'requests',
      `${countText(totals.requestsPerGiB)} writes for each GiB changed: ${countText(totals.vaultWrites)} blobs put into the vault's container`,
    ],
    ['merges', mergeText(totals)],
    ['time', `${outcome.totalSeconds.toFixed(0)} s, platform start and end with it`],
  ];
  return [
    '',
    ...tableLines(columns, rows, colours),
    '',
    ...restores.map(({ point, disk, equal, readBytes, difference }) => {
      const taken = points.find(({ name }) => name === point);
      const what = `${taken === undefined ? point : timeText(taken.time)}  ${disk.padEnd(6)}`;
      return equal
        ? `${colours.green('✓')} restored  ${what}  every byte is right (${sizeText(readBytes)} of data, the rest zero)`
        : `${colours.red('✗')} restored  ${what}  ${colours.red(difference ?? 'differs')}`;
    }),
    '',
    ...facts.map(([name, text]) => `  ${colours.bold(name.padEnd(9))} ${text}`),
    '',
    ...faults.map((fault) => `${colours.red('✗')} ${fault}`),
    isAllRight(outcome) ? colours.green('All was right.') : colours.red('Something was not right.'),
  ];
}

function mergeText({ merges, mergeSeconds }: { merges: number; mergeSeconds: number }): string {
  if (merges === 0) return 'none';
  return `${merges} expired points folded into their successors, ${(mergeSeconds / merges).toFixed(1)} s each (${mergeSeconds.toFixed(1)} s)`;
}

function typeOf({ kind, trigger }: PointHistory): string {
  return trigger === 'on demand' ? 'on demand' : kind;
}

function stateOf({ now }: PointHistory, colours: Paint): string {
  if (now === undefined) return 'merged';
  if (now.label === 'Vault') return colours.green(now.label);
  return now.label === 'Snapshot' ? colours.yellow(now.label) : colours.cyan(now.label);
}

/** As many digits as show the price of a small point. */
function priceText(bytes: number, pricePerGib: number): string {
  const price = (bytes / 2 ** 30) * pricePerGib;
  return price.toFixed(price > 0 && price < 0.001 ? 6 : 4);
}
