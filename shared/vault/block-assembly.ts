import { createHash, randomBytes } from 'node:crypto';
import type { BlockBlobClient } from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import { isPassing, storageFailure } from '../azure/storage-failures.ts';
import type { CopySources } from './copy-sources.ts';
import type { Assembly, BlobPart } from './vault-container.ts';

/** Most bytes of one block: what Put Block took before version 2019-12-12, which is more than anybody here sends. */
const MOST_BLOCK_BYTES = 100 * 1024 * 1024;
/** Most blocks of a blob: the service's limit. */
const MOST_BLOCKS = 50_000;

/** What the assembly needs of the container around it. */
interface AssemblyContext {
  readonly blob: BlockBlobClient;
  readonly sources: CopySources;
  readonly deadline: () => AbortSignal;
  /** Reads a piece of a source through this process. @throws BackupError BlobNotFound, PackCorrupt */
  readonly read: (from: string, offset: number, length: number) => Promise<Uint8Array>;
}

interface Block {
  readonly id: string;
  readonly part: BlobPart;
  readonly length: number;
}

/**
 * Stages the parts of a blob as blocks and makes a blob of them in one request, if there is none of its name. Ids carry a nonce of
 * this run, so that twins which put the same name together never mix their blocks. A source that turns out shorter than was asked for gives
 * a shorter block without a word; so the lengths of copied blocks are compared before they become a blob.
 * Errors of the storage are thrown as they are.
 */
export async function assembleBlocks(
  context: AssemblyContext,
  parts: readonly BlobPart[],
  summary: Readonly<Record<string, string>>,
): Promise<Assembly> {
  const { blob, deadline } = context;
  const blocks = blocksOf(parts);
  let copies = true;
  let bytesMoved = 0;
  let readRequests = 0;
  const stage = (id: string, bytes: Uint8Array): Promise<unknown> =>
    blob.stageBlock(id, bytes, bytes.byteLength, {
      transactionalContentMD5: createHash('md5').update(bytes).digest(),
      abortSignal: deadline(),
    });

  for (const { id, part } of blocks) {
    if ('bytes' in part) {
      await stage(id, part.bytes);
      continue;
    }
    readRequests++;
    copies &&= await copied(context, id, part);
    if (copies) continue;
    await stage(id, await context.read(part.from, part.offset, part.length));
    bytesMoved += part.length;
  }
  const mayBeShort = blocks.some(({ part }) => 'from' in part);
  if (mayBeShort) {
    readRequests++;
    await compareLengths(context, blocks);
  }
  await blob.commitBlockList(
    blocks.map(({ id }) => id),
    { conditions: { ifNoneMatch: '*' }, metadata: { ...summary }, abortSignal: deadline() },
  );
  return {
    through: bytesMoved === 0 ? 'storage' : 'function',
    bytesMoved,
    blockRequests: blocks.length + 1,
    readRequests,
  };
}

/** The parts as blocks of at most the size of one, each under an id of its own; all ids are equally long, as they must be. */
function blocksOf(parts: readonly BlobPart[]): Block[] {
  const pieces = parts.flatMap(pieced);
  if (pieces.length > MOST_BLOCKS)
    throw new TypeError(`a blob of ${pieces.length} blocks; the service takes ${MOST_BLOCKS}`);
  const run = randomBytes(8).toString('hex');
  return pieces.map((part, number) => ({
    id: Buffer.from(`${run}-${String(number).padStart(6, '0')}`).toString('base64'),
    part,
    length: 'bytes' in part ? part.bytes.byteLength : part.length,
  }));
}

/** A part in pieces of at most the size of a block; an empty part in none. */
function pieced(part: BlobPart): BlobPart[] {
  const length = 'bytes' in part ? part.bytes.byteLength : part.length;
  return Array.from({ length: Math.ceil(length / MOST_BLOCK_BYTES) }, (_, i) => {
    const at = i * MOST_BLOCK_BYTES;
    const end = Math.min(at + MOST_BLOCK_BYTES, length);
    return 'bytes' in part
      ? { bytes: part.bytes.subarray(at, end) }
      : { from: part.from, offset: part.offset + at, length: end - at };
  });
}

/**
 * Has the service copy a piece of a source; false when it answers that it will not: it cannot (501), may not read the source
 * or not sign for it (403), does not find it (404). Which of these it was, and whether it matters, shows when the piece is read.
 */
async function copied(
  { blob, sources, deadline }: AssemblyContext,
  id: string,
  { from, offset, length }: { from: string; offset: number; length: number },
): Promise<boolean> {
  try {
    await blob.stageBlockFromURL(id, await sources.url(from), offset, length, { abortSignal: deadline() });
    return true;
  } catch (error) {
    const failure = storageFailure(error);
    if (failure === undefined || isPassing(failure)) throw error;
    return false;
  }
}

async function compareLengths({ blob, deadline }: AssemblyContext, blocks: readonly Block[]): Promise<void> {
  const { uncommittedBlocks = [] } = await blob.getBlockList('uncommitted', { abortSignal: deadline() });
  const staged = new Map(uncommittedBlocks.map(({ name, size }) => [name, size]));
  for (const { id, part, length } of blocks) {
    const found = staged.get(id);
    // A twin that came first has taken the staged blocks away: the commit says what that means.
    if (found === undefined || found === length || !('from' in part)) continue;
    throw new BackupError(
      'PackCorrupt',
      `expected bytes ${part.offset} to ${part.offset + length} in ${part.from}, but it gave ${found} bytes`,
      { target: part.from },
    );
  }
}
