import { ArmClient } from './arm-client.ts';
import { checkVault, type Command, type CommandContext, vaultIdOf } from './command.ts';
import { connect } from './connection.ts';
import { EXIT, UsageError, exitOf } from './errors.ts';
import { commandHelp, overview } from './help.ts';
import { COMMON, parseOptions } from './options.ts';

/** Where the program's words go. */
export interface Console {
  out(text: string): void;
  err(text: string): void;
}

/** `strata <args>`; resolves the exit status. Faults of the program itself are thrown. */
export async function runStrata(
  commands: readonly Command[],
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  console: Console,
): Promise<number> {
  try {
    await perform(commands, args, env, console);
    return EXIT.done;
  } catch (error) {
    const exit = exitOf(error);
    if (exit === undefined) throw error;
    console.err(`error: ${(error as Error).message}\n`);
    return exit;
  }
}

async function perform(
  commands: readonly Command[],
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  console: Console,
): Promise<void> {
  const [noun = '', verb = '', ...rest] = args;
  const ofNoun = commands.filter((command) => command.noun === noun);
  const command = ofNoun.find((each) => each.verb === verb);
  if (command === undefined) {
    const asked = noun === '' || args.includes('--help');
    if (asked && (noun === '' || noun === '--help' || ofNoun.length > 0))
      return console.out(overview(ofNoun.length > 0 ? ofNoun : commands));
    const known = (ofNoun.length > 0 ? ofNoun : commands).map((each) => `${each.noun} ${each.verb}`).join(', ');
    throw new UsageError(`there is no command "${`${noun} ${verb}`.trim()}": expected one of ${known}`);
  }
  const values = parseOptions(rest, { ...command.options, ...COMMON });
  if (values.isSet('help')) return console.out(commandHelp(command));
  if ('vault-id' in command.options) checkVault(values);
  command.check?.(values);
  const connection = connect(values, env);
  const isJson = values.isSet('json');
  const context: CommandContext = {
    values,
    arm: new ArmClient(connection),
    vaultId: () => vaultIdOf(values, env['STRATA_SUBSCRIPTION_ID'] ?? connection.subscriptionId),
    say: (line) => (isJson ? undefined : console.err(`${line}\n`)),
    show: (json, lines) => console.out(isJson ? `${JSON.stringify(json, undefined, 2)}\n` : `${lines.join('\n')}\n`),
  };
  return command.run(context);
}
