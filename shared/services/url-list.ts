/** Former disks that an item remembers. */
export const MOST_FORMER = 40;
/** A property of a row holds 32,000 characters, and the list is JSON. */
const MOST_CHARACTERS = 30_000;
/** Quotes and comma. */
const JSON_CHARACTERS = 3;

/** The last of `urls`, each once, as many as an item's row has room for. */
export function latestUrls(urls: readonly string[], most = MOST_FORMER): string[] {
  const kept: string[] = [];
  let characters = 2;
  for (const url of new Set(urls.toReversed())) {
    characters += JSON.stringify(url).length - 2 + JSON_CHARACTERS;
    if (kept.length === most || characters > MOST_CHARACTERS) break;
    kept.push(url);
  }
  return kept.reverse();
}

/** Stands for all disks of an item where there is no room to name those whose snapshots could not be listed. */
export const EVERY_DISK = '*';

/** What an item's row says of disks whose snapshots could not be listed: none may be left out, or the sweep would take theirs for leftovers. */
export function unlistedUrls(urls: readonly string[]): string[] {
  const kept = latestUrls(urls, Infinity);
  return kept.length < new Set(urls).size ? [EVERY_DISK] : kept;
}
