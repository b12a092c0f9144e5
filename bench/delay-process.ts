/**
 * A process that stands before the ports of a storage server and hands on what clients send so many milliseconds late: arguments are the
 * milliseconds and the ports. It sends its own ports, in the same order, to the process that has started it, and ends with that.
 * Answers come at once, so that a request takes this much longer in all, however large it is.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

const [delayMs = 0, ...targets] = process.argv.slice(2).map(Number);

async function standBefore(target: number): Promise<number> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const storage = connect({ port: target, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    client.on('data', (bytes) => void setTimeout(() => storage.write(bytes), delayMs));
    client.on('end', () => void setTimeout(() => storage.end(), delayMs));
    storage.pipe(client);
    client.on('error', () => storage.destroy());
    storage.on('error', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

process.on('disconnect', () => process.exit());
process.send?.(await Promise.all(targets.map(standBefore)));
