/** An error in one line: its name, message and causes, and the first place in its stack that is a file and not Node itself. */
export function failureText(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  const place = error.stack?.split('\n').find((line) => /^\s+at .*(file:|\/|\\)/.test(line) && !line.includes('node:'));
  const where = place === undefined ? '' : ` (${place.trim()})`;
  const why = error.cause === undefined ? '' : `; caused by ${failureText(error.cause)}`;
  return `${error.name}: ${oneLine(error.message)}${where}${why}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' | ');
}
