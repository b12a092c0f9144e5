import { startHost, type FunctionsHost, type HostOptions } from './host.ts';
import { EXIT_BAD_APP, EXIT_RECYCLE, type FromHost, type ToHost } from './messages.ts';

/**
 * The Functions host as a process: started with an IPC channel and the app's settings in its environment, told what to do by a
 * `start` message. It ends with 0 on SIGTERM or when the process that started it is gone.
 */
let host: FunctionsHost | undefined;
let isStopping = false;

function send(message: FromHost): void {
  if (process.connected) process.send?.(message);
}

async function start(options: HostOptions): Promise<void> {
  try {
    host = await startHost(options, (reason) => {
      console.log(`[host] error: ${reason}; this host ends`);
      process.exit(EXIT_RECYCLE);
    });
    send({ kind: 'ready', port: host.port });
  } catch (error) {
    process.exitCode = EXIT_BAD_APP;
    const message = error instanceof Error ? error.message : String(error);
    if (process.connected) process.send?.({ kind: 'failed', message } satisfies FromHost, () => process.exit());
    else process.exit();
  }
}

async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  await host?.stop();
  process.exit(0);
}

async function advance(id: number, targetMs: number): Promise<void> {
  try {
    if (host === undefined) throw new Error('the Functions host is still starting');
    send({ kind: 'advanced', id, fired: await host.advanceClock(targetMs) });
  } catch (error) {
    send({ kind: 'advance-failed', id, message: error instanceof Error ? error.message : String(error) });
  }
}

process.on('message', (message: ToHost) => {
  if (message.kind === 'start') void start(message.options);
  else void advance(message.id, message.targetMs);
});
process.on('disconnect', () => void stop());
process.on('SIGTERM', () => void stop());
// Ctrl-C reaches every process of the terminal; the one that started this host decides.
process.on('SIGINT', () => undefined);
process.on('unhandledRejection', (error) => {
  console.log(
    `[host] error: unhandled rejection: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
});
