import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The ports of a storage server. */
export interface StoragePorts {
  readonly blobPort: number;
  readonly queuePort: number;
  readonly tablePort: number;
}

/** Puts a process before a storage server that hands requests on `delayMs` late; resolves the ports to use instead. */
export async function delayed(
  { blobPort, queuePort, tablePort }: StoragePorts,
  delayMs: number,
): Promise<{ ports: StoragePorts; pid: number; stop: () => Promise<void> }> {
  const child = fork(
    fileURLToPath(new URL('delay-process.ts', import.meta.url)),
    [delayMs, blobPort, queuePort, tablePort].map(String),
  );
  const [[blob, queue, table]] = (await once(child, 'message')) as [[number, number, number]];
  return {
    ports: { blobPort: blob, queuePort: queue, tablePort: table },
    pid: child.pid!,
    async stop() {
      const gone = once(child, 'exit');
      child.disconnect();
      await gone;
    },
  };
}
