import { hideSecrets } from '../../shared/domain/secrets.ts';
import type { RpcLogLevel } from './rpc.ts';

const LEVELS: readonly RpcLogLevel[] = ['trace', 'debug', 'information', 'warning', 'error', 'critical', 'none'];
const ALIASES: Record<string, RpcLogLevel> = { info: 'information', warn: 'warning', verbose: 'trace' };

/** A log in the Functions host's categories, such as `Function.run-backup.User` or `Host.Triggers`. One line per event. */
export interface HostLog {
  write(level: RpcLogLevel, category: string, label: string, message: string): void;
  /** A line that appears at every level. */
  always(message: string): void;
}

/**
 * Logs to `print`, without secrets: a request that fails may have its key in the URL.
 *
 * Without `override` a line needs the level that host.json's `logging.logLevel` gives its category (the longest matching prefix,
 * else `default`), and at least Warning, so that a quiet platform stays quiet. `override` (from `STRATA_LOG`) replaces both.
 */
export function createHostLog(
  logLevel: Readonly<Record<string, string>>,
  override: string | undefined,
  print: (line: string) => void = console.log,
): HostLog {
  const forced = override === undefined ? undefined : parseLevel(override, 'STRATA_LOG');
  const configured = Object.entries(logLevel)
    .map(([prefix, level]) => ({ prefix, level: parseLevel(level, `host.json logging.logLevel.${prefix}`) }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  const fallback = configured.find(({ prefix }) => prefix === 'default')?.level ?? 'information';
  const threshold = (category: string): number => {
    if (forced !== undefined) return LEVELS.indexOf(forced);
    const matching = configured.find(({ prefix }) => category === prefix || category.startsWith(`${prefix}.`));
    return Math.max(LEVELS.indexOf(matching?.level ?? fallback), LEVELS.indexOf('warning'));
  };
  return {
    write(level, category, label, message) {
      if (level === 'none' || LEVELS.indexOf(level) < threshold(category)) return;
      const mark = LEVELS.indexOf(level) >= LEVELS.indexOf('warning') ? `${level}: ` : '';
      print(`[${label}] ${mark}${hideSecrets(message)}`);
    },
    always: print,
  };
}

function parseLevel(text: string, where: string): RpcLogLevel {
  const lower = text.toLowerCase();
  const level = LEVELS.find((known) => known === lower) ?? ALIASES[lower];
  if (level === undefined) throw new Error(`${where} is "${text}"; the levels are ${LEVELS.join(', ')}`);
  return level;
}
