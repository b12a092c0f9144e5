import { stripVTControlCharacters } from 'node:util';

/** Colours for a terminal; each leaves the text as it is where there is none. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  green(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

export function paint(isColoured: boolean): Paint {
  const code = (on: number, off: number) => (text: string) =>
    isColoured && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  return {
    bold: code(1, 22),
    dim: code(2, 22),
    green: code(32, 39),
    red: code(31, 39),
    yellow: code(33, 39),
    cyan: code(36, 39),
  };
}

/** A progress bar of exactly `columns`, in eighths of a column. `fraction` outside 0 to 1 counts as the nearer end. */
export function bar(fraction: number, columns: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * columns * 8);
  const full = '█'.repeat(Math.floor(eighths / 8));
  const part = eighths % 8 === 0 ? '' : ' ▏▎▍▌▋▊▉'.charAt(eighths % 8);
  return (full + part).padEnd(columns, '·');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes with three significant digits at most: `0 B`, `512 B`, `1.5 KiB`, `256 MiB`. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const text = value.toFixed(digits);
  return `${digits === 0 ? text : text.replace(/\.?0+$/, '')} ${UNITS[unit]}`;
}

/** A whole number with its thousands set apart. */
export function countText(count: number): string {
  return String(Math.round(count)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** `2026-11-23 02:00`, in UTC. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}

export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** A table of lines without frames: titles, a rule, rows. Cells may be coloured; a column is as wide as its widest cell. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[], colours: Paint): string[] {
  const widths = columns.map(({ title }, i) => Math.max(...[title, ...rows.map((row) => row[i] ?? '')].map(width)));
  const lineOf = (cells: readonly string[]): string =>
    columns
      .map(({ align }, i) => {
        const cell = cells[i] ?? '';
        const room = ' '.repeat((widths[i] as number) - width(cell));
        return align === 'left' ? cell + room : room + cell;
      })
      .join('  ')
      .trimEnd();
  const total = widths.reduce((sum, each) => sum + each, 2 * (columns.length - 1));
  return [
    colours.bold(lineOf(columns.map(({ title }) => title))),
    colours.dim('─'.repeat(total)),
    ...rows.map((row) => lineOf(row)),
  ];
}

function width(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}
