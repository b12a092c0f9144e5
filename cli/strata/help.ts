import type { Command } from './command.ts';
import { COMMON, optionLines } from './options.ts';

const EXITS =
  'Exit status: 0 done, 1 the service refused or the job failed, 2 the call was wrong, 3 the service cannot be reached.';

/** The help of the whole, or of one noun. */
export function overview(commands: readonly Command[]): string {
  const heads = commands.map(({ noun, verb, summary }) => [`  strata ${noun} ${verb}`, summary] as const);
  const width = Math.max(...heads.map(([head]) => head.length));
  return [
    'Usage: strata <noun> <verb> [options]',
    '',
    ...heads.map(([head, summary]) => `${head.padEnd(width)}  ${summary}`),
    '',
    'strata <noun> <verb> --help tells all of a command. Every command has:',
    ...optionLines(COMMON),
    '',
    EXITS,
    '',
  ].join('\n');
}

export function commandHelp({ noun, verb, details, options }: Command): string {
  return [
    `Usage: strata ${noun} ${verb} [options]`,
    '',
    details,
    '',
    ...optionLines({ ...options, ...COMMON }),
    '',
    EXITS,
    '',
  ].join('\n');
}
