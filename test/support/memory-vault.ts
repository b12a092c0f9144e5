import { BackupError } from '../../shared/domain/errors.ts';
import {
  type BlobInfo,
  type VaultContainer,
  type VaultContainers,
  VAULT_CONTAINER_PREFIX,
} from '../../shared/vault/vault-container.ts';
import { putInto } from './put-into.ts';

/** Vault containers in memory, for seeded simulations: no time, no randomness, the same order in every run. */
export interface MemoryVault extends VaultContainers {
  /** The names of the containers that exist, in the order of their creation. */
  containerNames(): string[];
  /** The stored bytes of every blob of a container by name, to be looked at (and damaged) by tests. */
  blobs(containerName: string): Map<string, StoredBlob>;
  /** Names, of containers too, that no delete may take, as under an immutability policy. */
  readonly locked: Set<string>;
}

export interface StoredBlob {
  body: Uint8Array;
  summary: Readonly<Record<string, string>>;
}

/** `pageSize` is how many names a listing looks at together; between pages it sees what has changed meanwhile, as servers do. */
export function memoryVault({ pageSize = 100 }: { pageSize?: number } = {}): MemoryVault {
  const containers = new Map<string, Map<string, StoredBlob>>();
  const locked = new Set<string>();
  return {
    // oxlint-disable-next-line typescript/require-await -- a port answers by promises whatever lies behind it
    async open(containerName) {
      if (!/^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/.test(containerName)) {
        throw new BackupError('InvalidResourceName', `container name '${containerName}' is not allowed`);
      }
      if (!containers.has(containerName)) containers.set(containerName, new Map());
      return memoryContainer(containerName, () => containers.get(containerName), pageSize, locked);
    },
    async *list(): AsyncGenerator<string> {
      yield* [...containers.keys()].filter((name) => name.startsWith(VAULT_CONTAINER_PREFIX)).sort();
    },
    async drop(containerName) {
      if (locked.has(containerName)) throw new BackupError('BMSUserErrorObjectLocked', `${containerName} is immutable`);
      containers.delete(containerName);
    },
    locked,
    containerNames: () => [...containers.keys()],
    blobs: (containerName) => containers.get(containerName) ?? new Map<string, StoredBlob>(),
  };
}

function memoryContainer(
  containerName: string,
  find: () => Map<string, StoredBlob> | undefined,
  pageSize: number,
  locked: ReadonlySet<string>,
): VaultContainer {
  function blobs(): Map<string, StoredBlob> {
    const found = find();
    if (found === undefined) {
      throw new BackupError('ResourceNotFound', `container ${containerName} does not exist`);
    }
    return found;
  }
  function blob(name: string): StoredBlob {
    const found = blobs().get(name);
    if (found === undefined) throw new BackupError('BlobNotFound', `no blob ${name}`, { target: name });
    return found;
  }
  function range({ from, offset, length }: { from: string; offset: number; length: number }): Uint8Array {
    const { body } = blob(from);
    if (offset + length > body.byteLength) {
      const message = `expected bytes ${offset} to ${offset + length} in ${from}, it has ${body.byteLength}`;
      throw new BackupError('PackCorrupt', message, { target: from });
    }
    return body.slice(offset, offset + length);
  }
  const info = (name: string, { body, summary }: StoredBlob): BlobInfo => ({
    name,
    sizeBytes: body.byteLength,
    summary: { ...summary },
  });

  return {
    async put(name, body, summary = {}) {
      if (blobs().has(name))
        throw new BackupError('BlobAlreadyExists', `blob ${name} exists already`, { target: name });
      blobs().set(name, { body: new Uint8Array(body), summary: { ...summary } });
    },
    async assemble(name, parts, summary = {}) {
      const body = Buffer.concat(parts.map((part) => ('bytes' in part ? part.bytes : range(part))));
      if (blobs().has(name))
        throw new BackupError('BlobAlreadyExists', `blob ${name} exists already`, { target: name });
      blobs().set(name, { body: new Uint8Array(body), summary: { ...summary } });
      const copied = parts.filter((part) => 'from' in part).length;
      return { through: 'storage', bytesMoved: 0, blockRequests: parts.length + 1, readRequests: copied };
    },
    async read(name, offset, length, into) {
      if (length === 0) return new Uint8Array(0);
      return putInto(into, range({ from: name, offset, length }));
    },
    async readWhole(name) {
      return blob(name).body.slice();
    },
    async stat(name) {
      const found = blobs().get(name);
      return found === undefined ? undefined : info(name, found);
    },
    async *list(prefix) {
      let after: string | undefined;
      for (;;) {
        const names = [...blobs().keys()]
          .filter((name) => name.startsWith(prefix) && (after === undefined || byUtf8(name, after) > 0))
          .sort(byUtf8)
          .slice(0, pageSize);
        const page = names.map((name) => info(name, blob(name)));
        yield* page;
        if (page.length < pageSize) return;
        after = names.at(-1);
      }
    },
    async *folders(prefix) {
      const found = new Set<string>();
      for (const name of blobs().keys()) {
        const slash = name.startsWith(prefix) ? name.indexOf('/', prefix.length) : -1;
        if (slash >= 0) found.add(name.slice(0, slash + 1));
      }
      yield* [...found].sort(byUtf8);
    },
    async delete(name) {
      if (locked.has(name)) throw new BackupError('BMSUserErrorObjectLocked', `${name} is immutable`, { target: name });
      blobs().delete(name);
    },
  };
}

/** Orders texts by their UTF-8 bytes, which is by code point: UTF-16 puts surrogates before U+E000 and above. */
function byUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codePointRank(x) - codePointRank(y);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  if (unit >= 0xe000) return unit - 0x0800;
  return unit >= 0xd800 ? unit + 0x2000 : unit;
}
