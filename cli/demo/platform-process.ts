/**
 * The process in which the demo's local platform runs: apart from the demo, so that what its parts print does not mix with the
 * demo's own output, and an interrupt from the keyboard reaches the demo alone. It ends, and deletes the platform's folder, when
 * it is told to or when the demo is gone.
 */
import { rm } from 'node:fs/promises';
import { type Endpoints, type Platform, startPlatform } from '../../local/platform/start.ts';

export interface StartRequest {
  readonly dataDir: string;
}

export type PlatformReply =
  | { readonly type: 'ready'; readonly endpoints: Endpoints }
  | { readonly type: 'failed'; readonly message: string };

let starting: Promise<Platform> | undefined;
let folder: string | undefined;
let ending = false;

async function start({ dataDir }: StartRequest): Promise<void> {
  folder = dataDir;
  try {
    starting = startPlatform({ dataDir, portBase: 0, storage: 'completed' });
    const platform = await starting;
    await reply({ type: 'ready', endpoints: platform.endpoints });
    const failure = await platform.failed;
    if (ending) return;
    await reply({ type: 'failed', message: failure.message });
    await end(1);
  } catch (error) {
    await reply({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    await end(1);
  }
}

async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  const platform = await starting?.catch(() => undefined);
  await platform?.stop().catch((error: unknown) => console.error(String(error)));
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  process.exit(code);
}

/** Resolves when the demo has it, or is gone. */
function reply(message: PlatformReply): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (process.connected) process.send?.(message, () => resolve());
  else resolve();
  return promise;
}

if (process.send === undefined) {
  console.error('this program is started by cli/demo/platform.ts, not by hand');
  process.exit(2);
}
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end(0));
process.on('disconnect', () => void end(0));
process.once('message', (request: StartRequest) => void start(request));
