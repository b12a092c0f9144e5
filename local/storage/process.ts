/**
 * The storage process: Azurite's services, started and stopped by messages from the process that made this one.
 *
 * It ends by itself when that process is gone, however it went, and writes all metadata before. An interrupt from the
 * keyboard goes to both processes; this one leaves it to its parent, which may still need the storage in order to stop.
 */
import { lockFolder } from './folder-lock.ts';
import type { StorageOptions } from './server.ts';
import { type RunningServices, startServices } from './services.ts';
import type { ProcessReply, ProcessRequest } from './server.ts';

let running: Promise<{ services: RunningServices; unlock: () => Promise<void> }> | undefined;
let ending = false;

async function start(options: Required<StorageOptions>): Promise<void> {
  running = (async () => {
    const unlock = await lockFolder(options.dataDir);
    try {
      return { services: await startServices(options), unlock };
    } catch (error) {
      await unlock();
      throw error;
    }
  })();
  try {
    const { services } = await running;
    services.failed.catch((error: unknown) => end(1, String(error)));
    reply({ type: 'ready', ports: services.ports });
  } catch (error) {
    reply({ type: 'failed', message: error instanceof Error ? error.message : String(error) }, () => process.exit(1));
  }
}

/** Stops the services and ends the process; a second call changes nothing. */
async function end(code: number, reason?: string): Promise<void> {
  if (ending) return;
  ending = true;
  if (reason !== undefined) console.error(`storage: ${reason}`);
  let exitCode = code;
  try {
    const held = await running;
    await held?.services.stop();
    await held?.unlock();
  } catch (error) {
    console.error(`storage: could not stop cleanly: ${String(error)}`);
    exitCode = 1;
  }
  process.exit(exitCode);
}

function reply(message: ProcessReply, sent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, sent);
  else sent();
}

if (process.send === undefined) {
  console.error('this program is started by local/storage/server.ts, not by hand');
  process.exit(2);
}
// A terminal or a pipe that went away with the parent must not keep this process from writing its metadata.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end(0));
process.on('disconnect', () => void end(0));
process.on('message', (message: ProcessRequest) => {
  if (message.type === 'start') void start(message.options);
  else void end(0);
});
