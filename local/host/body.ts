import type { IncomingMessage } from 'node:http';

/** The Functions host takes request bodies of up to 100 MiB (http extension, maxRequestBodySize). */
export const MAX_BODY_BYTES = 100 * 1024 * 1024;

/**
 * A request's whole body, or undefined when it is longer than MAX_BODY_BYTES: the rest is then read and dropped, so that the
 * client gets to see the answer.
 * @throws when the client breaks off
 */
export function readBody(request: IncomingMessage): Promise<Buffer<ArrayBuffer> | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer<ArrayBuffer> | undefined>();
  let chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks = [];
  });
  request.on('end', () => resolve(size <= MAX_BODY_BYTES ? Buffer.concat(chunks, size) : undefined));
  request.on('error', reject);
  request.on('close', () => reject(new Error('the client broke off')));
  return promise;
}
