/** What is known of an item when bytes are shared out. */
export interface Sharer {
  readonly key: string;
  /** When something was last begun for it; undefined: never. */
  readonly servedAt?: number | undefined;
}

/** Items in the order in which they are served: who has waited longest comes first. */
export function inTurn<Item extends Sharer>(items: readonly Item[]): Item[] {
  return items.toSorted(
    (a, b) => (a.servedAt ?? -Infinity) - (b.servedAt ?? -Infinity) || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  );
}

/** `bytes` in `among` shares that add up to it and differ by one byte at most; the first are the greater ones. */
export function equalShares(bytes: number, among: number): number[] {
  const least = Math.floor(bytes / among);
  return Array.from({ length: among }, (_, i) => least + (i < bytes % among ? 1 : 0));
}

/** An item's part of a run, as far as the budget goes. */
export interface Spender extends Sharer {
  readonly stopped: 'budget' | 'otherwise';
  readonly grantedBytes: number;
  readonly spentBytes: number;
}

/**
 * What the items have not spent goes to those that were stopped by their share, in equal parts: how many bytes each may spend
 * besides what it has spent. Who could not use what it had, since the next piece of work is larger, gets nothing unless it is
 * more than that. So sharing out again and again comes to an end: each share is more than there was before.
 */
export function furtherShares(bytes: number, items: readonly Spender[]): Map<string, number> {
  const left = bytes - items.reduce((sum, { spentBytes }) => sum + spentBytes, 0);
  let hungry = inTurn(items.filter(({ stopped }) => stopped === 'budget'));
  if (left <= 0) return new Map();
  while (hungry.length > 0) {
    const shares = equalShares(left, hungry.length);
    const served = hungry.filter(
      ({ grantedBytes, spentBytes }, i) => shares[i]! > Math.max(0, grantedBytes - spentBytes),
    );
    if (served.length === hungry.length) return new Map(hungry.map(({ key }, i) => [key, shares[i]!]));
    hungry = served;
  }
  return new Map();
}
