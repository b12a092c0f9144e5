import type { Ports } from '../services/ports.ts';
import { labelled } from '../services/request-context.ts';
import { compose } from './compose.ts';
import { type Config, parseConfig } from './config.ts';

/** What a running function app works with. */
export interface App {
  readonly config: Config;
  readonly ports: Ports;
}

let app: App | undefined;

/** The process's app, built at the first question. @throws BackupError SettingInvalid */
export function theApp(): App {
  if (app === undefined) {
    const config = parseConfig(process.env);
    app = { config, ports: compose(config, (line) => process.stderr.write(`${labelled(line)}\n`)) };
  }
  return app;
}
