import type { Catalog } from '../../shared/catalog/catalog.ts';
import type { CatalogTable } from '../../shared/catalog/catalog-table.ts';
import type { DiskSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import type { BlobInfo, VaultContainer } from '../../shared/vault/vault-container.ts';
import { Killed } from './gated-ports.ts';

/** A write that a handler makes: to the vault, of a row, or the removal of a snapshot. */
export interface Write {
  /** As `vault.put`, `jobs.replace`, `snapshots.remove`. */
  readonly call: string;
  /** The blob's name, the row's key, or the snapshot as `<url>?<id>`. */
  readonly name: string;
  /** The row that is written. */
  readonly row?: Readonly<Record<string, unknown>>;
}

/** Two writes, of which the first must be done before the second. */
export interface OrderedWrites {
  readonly first: (write: Write) => boolean;
  readonly second: (write: Write, first: Write) => boolean;
}

interface Held extends Write {
  readonly blob?: { readonly body: Uint8Array; readonly summary: Readonly<Record<string, string>> };
}

/**
 * Storage that says yes to a write before it has done it, and shows it to everybody who asks, as a cache does: the first write that
 * the pair's `first` picks is held back until one that its `second` picks is done. Then `look` sees what has really been written, and
 * the power goes: the handler dies, and the write that was held back never happens.
 */
export class WriteBack {
  readonly #pair: OrderedWrites;
  readonly #look: () => Promise<void>;
  #held: Held | undefined;
  /** How far it has come; `lost`: the second was done, the first is lost. */
  state: 'waiting' | 'holding' | 'lost' = 'waiting';

  constructor(pair: OrderedWrites, look: () => Promise<void>) {
    this.#pair = pair;
    this.#look = look;
  }

  wrap(ports: Ports): Ports {
    return {
      ...ports,
      vaults: { ...ports.vaults, open: async (name) => this.#vault(await ports.vaults.open(name)) },
      snapshots: this.#snapshots(ports.snapshots),
      catalog: Object.fromEntries(
        Object.entries(ports.catalog).map(([name, table]) => [
          name,
          this.#table(name, table as CatalogTable<Record<string, unknown>>),
        ]),
      ) as unknown as Catalog,
    };
  }

  /** Does a write, or holds it back. Resolves what `write` does, or `held` in its place. */
  async #write<Answer>(write: Held, held: Answer, perform: () => Promise<Answer>): Promise<Answer> {
    if (this.state === 'waiting' && this.#pair.first(write)) {
      this.state = 'holding';
      this.#held = write;
      return held;
    }
    const answer = await perform();
    if (this.#held !== undefined && this.#pair.second(write, this.#held)) {
      this.#held = undefined;
      this.state = 'lost';
      await this.#look();
      throw new Killed(`the power went after ${write.call} ${write.name}`);
    }
    return answer;
  }

  #heldBlob(name: string): Held['blob'] {
    return this.#held?.call === 'vault.put' && this.#held.name === name ? this.#held.blob : undefined;
  }

  #isDeleted(name: string): boolean {
    return this.#held?.call === 'vault.delete' && this.#held.name === name;
  }

  #vault(real: VaultContainer): VaultContainer {
    const info = (name: string, { body, summary }: NonNullable<Held['blob']>): BlobInfo => ({
      name,
      sizeBytes: body.byteLength,
      summary,
    });
    const look = async <Answer>(
      name: string,
      held: (blob: NonNullable<Held['blob']>) => Answer,
      there: () => Promise<Answer>,
    ): Promise<Answer> => {
      const blob = this.#heldBlob(name);
      if (this.#isDeleted(name)) throw new BackupError('BlobNotFound', `no blob ${name}`, { target: name });
      return blob === undefined ? there() : held(blob);
    };
    return {
      ...real,
      put: (name, body, summary = {}) => {
        if (this.#heldBlob(name) !== undefined)
          throw new BackupError('BlobAlreadyExists', `blob ${name} exists already`);
        const blob = { body: new Uint8Array(body), summary };
        return this.#write({ call: 'vault.put', name, blob }, undefined, () => real.put(name, body, summary));
      },
      delete: (name) => this.#write({ call: 'vault.delete', name }, undefined, () => real.delete(name)),
      read: (name, offset, length) =>
        look(
          name,
          ({ body }) => body.slice(offset, offset + length),
          () => real.read(name, offset, length),
        ),
      readWhole: (name) =>
        look(
          name,
          ({ body }) => body.slice(),
          () => real.readWhole(name),
        ),
      stat: async (name) => {
        const blob = this.#heldBlob(name);
        if (this.#isDeleted(name)) return undefined;
        return blob === undefined ? real.stat(name) : info(name, blob);
      },
      list: (prefix) => this.#list(real, prefix, info),
    };
  }

  async *#list(
    real: VaultContainer,
    prefix: string,
    info: (name: string, blob: NonNullable<Held['blob']>) => BlobInfo,
  ): AsyncGenerator<BlobInfo> {
    for await (const blob of real.list(prefix)) if (!this.#isDeleted(blob.name)) yield blob;
    const held = this.#held;
    if (held?.blob !== undefined && held.name.startsWith(prefix)) yield info(held.name, held.blob);
  }

  #snapshots(real: Ports['snapshots']): Ports['snapshots'] {
    const nameOf = ({ url, id }: DiskSnapshot): string => `${url}?${id}`;
    const isRemoved = (snapshot: DiskSnapshot): boolean =>
      this.#held?.call === 'snapshots.remove' && this.#held.name === nameOf(snapshot);
    const listed = async function* (url: string) {
      for await (const snapshot of real.list(url)) if (!isRemoved(snapshot)) yield snapshot;
    };
    return {
      ...real,
      remove: (snapshot) =>
        this.#write({ call: 'snapshots.remove', name: nameOf(snapshot) }, undefined, () => real.remove(snapshot)),
      sizeOf: async (snapshot) => (isRemoved(snapshot) ? undefined : real.sizeOf(snapshot)),
      list: listed,
    };
  }

  #table(table: string, real: CatalogTable<Record<string, unknown>>): CatalogTable<Record<string, unknown>> {
    return {
      ...real,
      get: async (partition, key) => {
        const held = this.#held;
        const found = await real.get(partition, key);
        return found !== undefined && held?.row !== undefined && held.call === `${table}.replace` && held.name === key
          ? { row: { ...held.row }, etag: found.etag }
          : found;
      },
      replace: (partition, key, row, etag) =>
        this.#write({ call: `${table}.replace`, name: key, row: structuredClone(row) }, etag, () =>
          real.replace(partition, key, row, etag),
        ),
      remove: (partition, key, etag) =>
        this.#write({ call: `${table}.remove`, name: key }, undefined, () => real.remove(partition, key, etag)),
    };
  }
}
