import type { Mutation } from './mutation.ts';

const SOCKETS = 'azure/body-sockets.test.ts';
const file = 'shared/azure/body-sockets.ts';

/** Bodies that are read straight into memory. */
export const BODY_SOCKETS: readonly Mutation[] = [
  {
    name: 'bodies: an answer of another length is taken for the body',
    file,
    find: 'answer.status !== 206 || answer.bodyBytes !== exchange.into.length',
    replace: 'answer.status !== 206',
    tests: [SOCKETS],
    why: 'a read hangs, or gives bytes that lie elsewhere on the disk',
  },
  {
    name: 'bodies: a connection goes on after bytes that nobody asked for',
    file,
    find: 'if (filled > exchange.into.length) return this.close();',
    replace: 'chunk = chunk.subarray(0, exchange.into.length - exchange.filled!);',
    tests: [SOCKETS],
    why: 'the rest of one answer is taken for the head of the next',
  },
  {
    name: 'bodies: a connection is used again after an answer that was not read',
    file,
    find: 'if (!answer.isFilled) this.#socket.destroy();',
    replace: '',
    tests: [SOCKETS],
    why: 'a read waits for an answer that was given before it asked',
  },
  {
    name: 'bodies: connections that nobody asks again stay open',
    file,
    find: '    this.#socket.setTimeout(IDLE_MS);\n',
    replace: '',
    tests: [SOCKETS],
    why: 'each managed disk has a host of its own: their sockets are gathered for as long as the process lives',
  },
  {
    name: 'bodies: connections that have been closed stay in mind',
    file,
    find: '      this.#gone();\n',
    replace: '',
    tests: [SOCKETS],
    why: 'each managed disk has a host of its own: their sockets are gathered for as long as the process lives',
  },
  {
    name: 'bodies: a token is waited for without end',
    file: 'shared/azure/blob-bytes.ts',
    find: 'getToken(STORAGE_SCOPE, { abortSignal })',
    replace: 'getToken(STORAGE_SCOPE)',
    tests: ['azure/blob-bytes.test.ts'],
    why: 'a handler hangs for as long as the identity endpoint does, past the deadline of each of its requests',
  },
];
