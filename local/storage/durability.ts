/**
 * Keeps Azurite's metadata on disk.
 *
 * Azurite holds all metadata in memory and writes each database as one JSON file, beside the old one and then renamed over
 * it, every 5 seconds if it has changed. The bytes of blobs and messages are on disk before a request is answered. What
 * can be lost:
 * - on a clean end: Azurite's own close does not wait for a write that is under way, so that what it was about to keep is
 *   lost if the process ends at once. `flush` waits, and writes once more.
 * - on a kill: the metadata of the last 5 seconds. `keepSaved` shortens that to a quarter of a second for small databases;
 *   a database that takes t ms to write is written every 9 t ms at most, which bounds the cost at a tenth of the process.
 * - on a kill between the writes of two databases: a blob whose extent file is not in the list of extents, and that can
 *   never be read again. `adoptExtents` lists every extent file that is found, before the service starts; Azurite's own
 *   sweep then deletes those that no blob names.
 *
 * A power failure may lose more: Azurite does not ask the operating system to flush its JSON files.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AzuriteServer, LokiDatabase, PersistencePath } from './azurite-modules.ts';

/** Shortest time between two writes of a database. */
const SAVE_INTERVAL_MS = 250;

/** A database rests so many times as long as its last write took. */
const REST_FACTOR = 9;

/** Databases of the servers, extents before the blobs and messages that name them. */
export function databasesOf(servers: readonly AzuriteServer[]): LokiDatabase[] {
  return servers.flatMap(({ extentMetadataStore, metadataStore }) =>
    extentMetadataStore === undefined ? [metadataStore.db] : [extentMetadataStore.db, metadataStore.db],
  );
}

/** Writes everything that is in memory. Waits for writes under way. @throws the file system's error */
export async function flush(databases: readonly LokiDatabase[]): Promise<void> {
  for (const database of databases) await save(database);
}

/**
 * Takes the place of Azurite's own timers until `signal` is aborted. A failed write is reported and tried again, since
 * LokiJS itself forgets that it still has something to write.
 */
export async function keepSaved(databases: readonly LokiDatabase[], signal: AbortSignal): Promise<void> {
  for (const database of databases) database.autosaveDisable();
  const owed = new Set<LokiDatabase>();
  let restMs = SAVE_INTERVAL_MS;
  while (!signal.aborted) {
    await sleep(restMs, undefined, { signal, ref: false }).catch(() => undefined);
    const startedMs = performance.now();
    for (const database of databases) {
      if (!database.autosaveDirty() && !owed.has(database)) continue;
      owed.add(database);
      try {
        await save(database);
        owed.delete(database);
      } catch (error) {
        console.error(`storage: ${database.filename} could not be written and will be tried again: ${String(error)}`);
      }
    }
    restMs = Math.max(SAVE_INTERVAL_MS, REST_FACTOR * (performance.now() - startedMs));
  }
}

/** LokiJS queues a write behind the one under way, so this covers everything up to the call. */
function save(database: LokiDatabase): Promise<void> {
  return new Promise((resolve, reject) => {
    database.saveDatabase((error) => {
      if (error === undefined || error === null) resolve();
      else reject(error instanceof Error ? error : new Error('the database could not be written', { cause: error }));
    });
  });
}

/** Makes the server list all extent files of `location` when it starts, before its sweep for unused ones. */
export function adoptExtents(server: AzuriteServer, location: PersistencePath): void {
  const { extentStore, extentMetadataStore } = server;
  if (extentStore === undefined || extentMetadataStore === undefined) return;
  const init = extentStore.init.bind(extentStore);
  extentStore.init = async () => {
    await init();
    for (const id of await readdir(location.locationPath)) {
      const { size, mtimeMs } = await stat(join(location.locationPath, id));
      await extentMetadataStore.updateExtent({
        id,
        locationId: location.locationId,
        path: id,
        size,
        lastModifiedInMS: mtimeMs,
      });
    }
  };
}
