import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { TokenCredential } from '@azure/identity';
import {
  BlobServiceClient,
  newPipeline,
  type ContainerClient,
  type StorageRetryOptions,
  type StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import { collect, readBlobInto } from '../azure/blob-bytes.ts';
import { type StorageFailure, storageFailure, translated } from '../azure/storage-failures.ts';
import { assembleBlocks } from './block-assembly.ts';
import { copySources } from './copy-sources.ts';
import { type BlobInfo, type VaultContainer, type VaultContainers, VAULT_CONTAINER_PREFIX } from './vault-container.ts';

/** Where the vaults' containers lie and how to get in. */
export interface AzureVaultOptions {
  /** `https://<account>.blob.core.windows.net`, or an emulator's `http://127.0.0.1:<port>/<account>`. */
  readonly blobServiceUrl: string;
  readonly credential: StorageSharedKeyCredential | TokenCredential;
  /** Default: 5 tries, the second at once (an idle connection that the server has closed), then after 0.4, 1.2 and 2.8 s. */
  readonly retryOptions?: StorageRetryOptions;
  /** A request with all its tries is given up after this. Default 60,000 ms. */
  readonly deadlineMs?: number;
}

const RETRIES: StorageRetryOptions = { maxTries: 5, retryDelayInMs: 400, maxRetryDelayInMs: 10_000 };

const CONTAINER_NAME = /^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/;

/** Vault containers in Azure Blob Storage: each blob is one block blob, written by one Put Blob with `If-None-Match: *`. */
export function azureVaultContainers(options: AzureVaultOptions): VaultContainers {
  const pipeline = newPipeline(options.credential, { retryOptions: options.retryOptions ?? RETRIES });
  const service = new BlobServiceClient(options.blobServiceUrl, pipeline);
  const deadline = () => AbortSignal.timeout(options.deadlineMs ?? 60_000);

  // Each container is made once in a process, and the same object is given for it from then on.
  const opened = new Map<string, Promise<VaultContainer>>();
  const create = async (containerName: string): Promise<VaultContainer> => {
    const container = service.getContainerClient(containerName);
    try {
      await container.createIfNotExists({ abortSignal: deadline() });
    } catch (error) {
      opened.delete(containerName);
      throw translated(error, `open container ${containerName}`);
    }
    return azureVaultContainer(service, container, deadline);
  };

  return {
    async open(containerName) {
      assertContainerName(containerName);
      const found = opened.get(containerName) ?? create(containerName);
      opened.set(containerName, found);
      return found;
    },

    async *list(): AsyncGenerator<string> {
      const pages = (token?: string) =>
        service
          .listContainers({ prefix: VAULT_CONTAINER_PREFIX, abortSignal: deadline() })
          .byPage(token === undefined ? {} : { continuationToken: token });
      for await (const { containerItems } of eachPage(pages, (error) => translated(error, 'list containers')))
        for (const { name } of containerItems) yield name;
    },

    async drop(containerName) {
      assertContainerName(containerName);
      opened.delete(containerName);
      try {
        await service.getContainerClient(containerName).deleteIfExists({ abortSignal: deadline() });
      } catch (error) {
        // The container is on its way out already: what was asked for.
        const failure = storageFailure(error);
        if (failure?.code === 'ContainerBeingDeleted') return;
        if (isLocked(failure))
          throw new BackupError('BMSUserErrorObjectLocked', `an immutability policy holds container ${containerName}`, {
            cause: error,
            target: containerName,
          });
        throw translated(error, `delete container ${containerName}`);
      }
    },
  };
}

/** A delete that a time-based retention or a legal hold forbids, of a blob or of a container that has such blobs. */
const isLocked = (failure: StorageFailure | undefined): boolean =>
  failure?.status === 409 && /Immutable|LegalHold|ProtectedFromDeletion/.test(failure.code);

function azureVaultContainer(
  service: BlobServiceClient,
  container: ContainerClient,
  deadline: () => AbortSignal,
): VaultContainer {
  const sources = copySources(service, container, deadline);

  /** Absence of the blob has its own error; absence of the whole container must never pass for it. */
  function failed(error: unknown, what: string, name: string): unknown {
    const failure = storageFailure(error);
    if (failure?.status === 404) {
      // A HEAD has no body, and a server that sends no code either leaves only the status: then it is the blob that was asked for.
      return failure.code === 'ContainerNotFound' || failure.code === 'ResourceNotFound'
        ? new BackupError('ResourceNotFound', `container ${container.containerName} does not exist`, { cause: error })
        : new BackupError('BlobNotFound', `no blob ${name} in container ${container.containerName}`, {
            cause: error,
            target: name,
          });
    }
    if (isLocked(failure)) {
      return new BackupError('BMSUserErrorObjectLocked', `an immutability policy holds ${name}`, {
        cause: error,
        target: name,
      });
    }
    return translated(error, `${what} ${name} in container ${container.containerName}`);
  }

  /** Creating a name may meet one that is there: by the condition of the request (412), or by the service's own word. */
  function notCreated(error: unknown, what: string, name: string): unknown {
    const failure = storageFailure(error);
    return failure?.status === 412 || failure?.code === 'BlobAlreadyExists'
      ? new BackupError('BlobAlreadyExists', `blob ${name} exists already`, { cause: error, target: name })
      : failed(error, what, name);
  }

  const self: VaultContainer = {
    async put(name, body, summary = {}) {
      assertSummary(summary);
      try {
        await container.getBlockBlobClient(name).upload(body, body.byteLength, {
          conditions: { ifNoneMatch: '*' },
          metadata: { ...summary },
          // Checked by the server before anything is stored: bytes that were damaged on the way are refused.
          transactionalContentMD5: createHash('md5').update(body).digest(),
          abortSignal: deadline(),
        });
      } catch (error) {
        throw notCreated(error, 'put', name);
      }
    },

    async assemble(name, parts, summary = {}) {
      assertSummary(summary);
      const blob = container.getBlockBlobClient(name);
      const read: VaultContainer['read'] = (from, offset, length) => self.read(from, offset, length);
      try {
        return await assembleBlocks({ blob, sources, deadline, read }, parts, summary);
      } catch (error) {
        const problem = notCreated(error, 'put together', name);
        // The blocks are gone: taken away by a twin's commit of the same name, or dropped by the service.
        const blocksLost =
          storageFailure(error)?.code === 'InvalidBlockList' ||
          (problem instanceof BackupError && problem.code === 'BlobNotFound' && problem.target === name);
        if (!blocksLost) throw problem;
        throw (await self.stat(name)) === undefined
          ? new BackupError('StorageUnavailable', `the blocks of ${name} are gone`, { cause: error, target: name })
          : new BackupError('BlobAlreadyExists', `blob ${name} exists already`, { cause: error, target: name });
      }
    },

    async read(name, offset, length, into) {
      if (length === 0) return new Uint8Array(0);
      try {
        const bytes = into?.subarray(0, length) ?? new Uint8Array(length);
        const found = await readBlobInto(container.getBlobClient(name), offset, bytes, deadline());
        if (found !== length) throw tooShort(name, offset, length, `it gave ${found} bytes`);
        return bytes;
      } catch (error) {
        if (storageFailure(error)?.status === 416) throw tooShort(name, offset, length, 'it ends before', error);
        throw failed(error, 'read', name);
      }
    },

    async readWhole(name) {
      try {
        const answer = await container.getBlobClient(name).download(0, undefined, { abortSignal: deadline() });
        const bytes = new Uint8Array(answer.contentLength ?? 0);
        await collect(answer.readableStreamBody as Readable, bytes);
        return bytes;
      } catch (error) {
        throw failed(error, 'read', name);
      }
    },

    async stat(name) {
      try {
        const { contentLength, metadata } = await container
          .getBlobClient(name)
          .getProperties({ abortSignal: deadline() });
        return { name, sizeBytes: contentLength ?? 0, summary: { ...metadata } };
      } catch (error) {
        const problem = failed(error, 'look at', name);
        if (problem instanceof BackupError && problem.code === 'BlobNotFound') return undefined;
        throw problem;
      }
    },

    async *list(prefix): AsyncGenerator<BlobInfo> {
      const pages = (token?: string) =>
        container
          .listBlobsFlat({ prefix, includeMetadata: true, abortSignal: deadline() })
          .byPage(token === undefined ? {} : { continuationToken: token });
      for await (const { segment } of eachPage(pages, (error) => failed(error, 'list', `${prefix}*`)))
        for (const { name, properties, metadata } of segment.blobItems)
          yield { name, sizeBytes: properties.contentLength ?? 0, summary: { ...metadata } };
    },

    async *folders(prefix): AsyncGenerator<string> {
      const pages = (token?: string) =>
        container
          .listBlobsByHierarchy('/', { prefix, abortSignal: deadline() })
          .byPage(token === undefined ? {} : { continuationToken: token });
      for await (const { segment } of eachPage(pages, (error) => failed(error, 'list', `${prefix}*/`)))
        for (const { name } of segment.blobPrefixes ?? []) yield name;
    },

    async delete(name) {
      try {
        await container.getBlobClient(name).delete({ abortSignal: deadline() });
      } catch (error) {
        const problem = failed(error, 'delete', name);
        if (problem instanceof BackupError && problem.code === 'BlobNotFound') return;
        throw problem;
      }
    },
  };
  return self;
}

/** The pages of a listing, each asked for under a deadline of its own; `failure` says what a failed request is to callers. */
async function* eachPage<Page extends { continuationToken?: string }>(
  from: (token?: string) => AsyncIterableIterator<Page>,
  failure: (error: unknown) => unknown,
): AsyncGenerator<Page> {
  let token: string | undefined;
  do {
    const page = await from(token)
      .next()
      .catch((error: unknown) => {
        throw failure(error);
      });
    if (page.done === true) return;
    yield page.value;
    token = page.value.continuationToken;
  } while (token !== undefined && token !== '');
}

function tooShort(name: string, offset: number, length: number, found: string, cause?: unknown): BackupError {
  const message = `expected bytes ${offset} to ${offset + length} in ${name}, but ${found}`;
  return new BackupError('PackCorrupt', message, { cause, target: name });
}

function assertContainerName(name: string): void {
  if (CONTAINER_NAME.test(name)) return;
  throw new BackupError(
    'InvalidResourceName',
    `container name '${name}' is not 3 to 63 lower-case letters, digits and single hyphens`,
    { target: name },
  );
}

/** Headers carry the summary, so that what is no plain text would be lost, trimmed or refused by one server and not another. */
function assertSummary(summary: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(summary)) {
    if (!/^[a-z_]+$/.test(key) || !/^[!-~]([ -~]*[!-~])?$/.test(value)) {
      throw new TypeError(
        `summary ${key}='${value}': keys are lower-case letters, values printable ASCII without outer spaces`,
      );
    }
  }
}
