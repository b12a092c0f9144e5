/**
 * Runs `work` on each item with up to `inFlight` running at once, and yields the results in the order of the items. What has
 * been started but not taken when the caller stops early is left to finish unseen.
 */
export async function* inOrder<Item, Result>(
  items: Iterable<Item>,
  inFlight: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<{ item: Item; result: Result }> {
  const running: { item: Item; result: Promise<Result> }[] = [];
  for (const item of items) {
    const result = work(item);
    result.catch(() => undefined); // awaited below, or no longer wanted
    running.push({ item, result });
    if (running.length >= inFlight) {
      const first = running.shift()!;
      yield { item: first.item, result: await first.result };
    }
  }
  for (const { item, result } of running) yield { item, result: await result };
}

/** Runs `work` on each item with up to `inFlight` running at once. The first failure ends it; nothing new is started after. */
export async function forEachAtOnce<Item>(
  items: Iterable<Item>,
  inFlight: number,
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  for await (const _ of inOrder(items, inFlight, work)) void _;
}

/** Lets `work` go on while its caller does something else first: a failure is met where the result is awaited, or nowhere. */
export function ahead<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}
