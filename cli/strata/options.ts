import { parseArgs } from 'node:util';
import { UsageError } from './errors.ts';

/** One option of a command. `value` stands for its value in the help; without it the option is a switch. */
export interface Option {
  readonly value?: string;
  readonly help: string;
}

export type Options = Readonly<Record<string, Option>>;

/** What the caller gave: texts and switches by the options' names. */
export class Values {
  readonly #given: Readonly<Record<string, string | boolean | undefined>>;

  constructor(given: Readonly<Record<string, string | boolean | undefined>>) {
    this.#given = given;
  }

  text(name: string): string | undefined {
    const value = this.#given[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** @throws UsageError naming the option and its bounds */
  wholeNumber(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}; it is "${text}"`);
  }

  isSet(name: string): boolean {
    return this.#given[name] === true;
  }
}

/** Options that every command has. */
export const COMMON: Options = {
  endpoint: { value: 'URL', help: 'address of the function app (STRATA_ENDPOINT)' },
  token: { value: 'TOKEN', help: 'bearer token (STRATA_TOKEN)' },
  scope: { value: 'SCOPE', help: 'scope of the token to get from your Azure login (STRATA_SCOPE)' },
  data: {
    value: 'DIR',
    help: 'data folder of a local platform, used without --endpoint (STRATA_DATA; default .strata)',
  },
  json: { help: 'print the result as JSON' },
  help: { help: 'this text' },
};

/** Options of commands that work on a vault. */
export const OF_A_VAULT: Options = {
  vault: { value: 'NAME', help: 'name of the vault' },
  'resource-group': { value: 'GROUP', help: 'its resource group' },
  subscription: {
    value: 'ID',
    help: 'its subscription (STRATA_SUBSCRIPTION_ID; by default that of the local platform)',
  },
  'vault-id': { value: 'ID', help: 'its resource id, in place of the three above' },
};

/** @throws UsageError for an option that is not known, a value that is missing or empty, or one too many */
export function parseOptions(args: readonly string[], options: Options): Values {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: Object.fromEntries(
        Object.entries(options).map(([name, { value }]) => [
          name,
          { type: value === undefined ? ('boolean' as const) : ('string' as const) },
        ]),
      ),
    }));
  } catch (error) {
    const [reason = ''] = (error as Error).message.split(/\. |\n/);
    throw new UsageError(`${reason}; --help lists the options`, { cause: error });
  }
  const empty = Object.keys(values).find((name) => values[name] === '');
  if (empty !== undefined) throw new UsageError(`--${empty} needs a value; it is empty`);
  return new Values(values);
}

/** The options as lines of a help text. */
export function optionLines(options: Options): string[] {
  const heads = Object.entries(options).map(
    ([name, { value, help }]) => [`  --${name}${value === undefined ? '' : ` ${value}`}`, help] as const,
  );
  const width = Math.max(...heads.map(([head]) => head.length));
  return heads.map(([head, help]) => `${head.padEnd(width)}  ${help}`);
}
