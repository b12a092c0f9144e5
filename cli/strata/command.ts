import type { ArmClient } from './arm-client.ts';
import { UsageError } from './errors.ts';
import type { Options, Values } from './options.ts';

/** What a command works with. */
export interface CommandContext {
  readonly values: Values;
  readonly arm: ArmClient;
  /** The resource id of the vault that the options name. @throws UsageError when they name none */
  readonly vaultId: () => string;
  /** One line about how it goes, for people: on standard error, and not with `--json`. */
  readonly say: (line: string) => void;
  /** What came of it, on standard output: `json` with `--json`, else the lines. */
  readonly show: (json: unknown, lines: readonly string[]) => void;
}

/** `strata <noun> <verb>`: one file per command, one line in the table of cli/strata.ts. */
export interface Command {
  readonly noun: string;
  readonly verb: string;
  /** One line for the overview. */
  readonly summary: string;
  /** What it does and what it leaves alone, for its own help. */
  readonly details: string;
  /** Its own options, besides the common ones. */
  readonly options: Options;
  /** Refuses options that do not go together, before anybody is asked. @throws UsageError */
  readonly check?: (values: Values) => void;
  /** Does it. @throws RefusedError when the service refused or the job failed */
  readonly run: (context: CommandContext) => Promise<void>;
}

const VAULT_ID =
  /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.RecoveryServices\/vaults\/[^/]+$/i;

/** The resource id of the vault that the options name. @throws UsageError */
export function vaultIdOf(values: Values, subscription: string | undefined): string {
  checkVault(values);
  const id = values.text('vault-id')?.replace(/\/+$/, '');
  if (id !== undefined) return id;
  const given = values.text('subscription') ?? subscription;
  if (given === undefined) throw new UsageError('--subscription must say where the vault is');
  const [inside, group, vault] = [given, values.text('resource-group')!, values.text('vault')!].map(encodeURIComponent);
  return `/subscriptions/${inside}/resourceGroups/${group}/providers/Microsoft.RecoveryServices/vaults/${vault}`;
}

/** What can be told of a vault's options before anybody has been asked. @throws UsageError */
export function checkVault(values: Values): void {
  const id = values.text('vault-id')?.replace(/\/+$/, '');
  if (id !== undefined && !VAULT_ID.test(id)) {
    throw new UsageError(
      `--vault-id must be /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.RecoveryServices/vaults/<name>; it is "${id}"`,
    );
  }
  const besides = ['vault', 'resource-group', 'subscription'].find((name) => values.text(name) !== undefined);
  if (id !== undefined && besides !== undefined)
    throw new UsageError(
      `--vault-id says all of the vault: leave out --${besides}, or give --vault and --resource-group alone`,
    );
  const missing = ['vault', 'resource-group'].filter((name) => values.text(name) === undefined);
  if (id === undefined && missing.length > 0)
    throw new UsageError(`--${missing.join(' and --')} must say which vault is meant (or --vault-id)`);
}
