import { readFileSync } from 'node:fs';
import { dataFolder } from '../../local/platform/data-folder.ts';
import type { JoinFile } from '../../local/platform/worker.ts';
import { compose } from '../../shared/app/compose.ts';
import { parseConfig } from '../../shared/app/config.ts';
import type { Ports } from '../../shared/services/ports.ts';

/** The ports that the hosts of a running platform work with, for a test that looks at what they have left. */
export function platformPorts(dataDir: string): Ports {
  const { env } = JSON.parse(readFileSync(dataFolder(dataDir).hostEnvFile, 'utf8')) as JoinFile;
  return compose(parseConfig(env), () => undefined);
}
