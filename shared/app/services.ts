import type { Log, Ports } from '../services/ports.ts';
import { compose } from './compose.ts';
import { type Config, parseConfig, secretsOf } from './config.ts';
import { createLog } from './log.ts';

/** What a running function app works with. */
export interface App {
  readonly config: Config;
  readonly ports: Ports;
}

let app: App | undefined;
let log: Log | undefined;

/** The process's log: it is there even where the settings are wrong, so that somebody learns of it. */
export function theLog(): Log {
  log ??= createLog({
    format: process.env['STRATA_LOG_FORMAT'] === 'text' ? 'text' : 'json',
    secrets: secretsOf(process.env),
    print: (line) => process.stderr.write(`${line}\n`),
  });
  return log;
}

/** The process's app, built at the first question. @throws BackupError SettingInvalid */
export function theApp(): App {
  if (app === undefined) {
    const config = parseConfig(process.env);
    app = { config, ports: compose(config, theLog()) };
  }
  return app;
}
