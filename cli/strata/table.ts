/** Rows of texts as lines whose columns stand below one another; columns of numbers stand to the right. */
export function tableLines(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const all = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const isNumber = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === 'number'));
  return all.map((row) =>
    row
      .map((text, i) => (isNumber[i] ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people: three digits or so. */
export function bytesText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; Math.abs(value) >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return unit === 0 ? `${value} B` : `${value.toFixed(Math.abs(value) < 10 ? 2 : 1)} ${UNITS[unit]}`;
}
