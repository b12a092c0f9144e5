/**
 * Makes times that come back from a metadata file times again.
 *
 * Azurite's metadata holds `Date` objects, its JSON files hold their text, and loading does not turn it back. Text compares
 * as neither earlier nor later than any time, so that after a restart a lease of fixed duration counts as expired at once
 * (two may then hold it) and a message with an end never expires. In Azure a lease runs on until its time is over.
 */
import type { AzuriteServer } from './azurite-modules.ts';

/** Names of the fields that hold times, in a document and in its `properties`; metadata and tags are not among them. */
const TIME_FIELD = /(Time|lastModified)$/;

/** What `Date` becomes in JSON. */
const JSON_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Makes the server read its metadata so when it starts. For the blob and the queue service; tables keep times as text. */
export function reviveTimes({ metadataStore }: AzuriteServer): void {
  const init = metadataStore.init.bind(metadataStore);
  metadataStore.init = async () => {
    await init();
    for (const { data } of metadataStore.db.collections) {
      for (const document of data) {
        reviveFields(document);
        const properties = document['properties'];
        if (typeof properties === 'object' && properties !== null) reviveFields(properties as Record<string, unknown>);
      }
    }
  };
}

function reviveFields(fields: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(fields)) {
    if (TIME_FIELD.test(name) && typeof value === 'string' && JSON_TIME.test(value)) fields[name] = new Date(value);
  }
}
