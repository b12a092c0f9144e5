/** A request's query: names are compared without case, as ARM does; of several values the first counts. */
export class Query {
  readonly #values: ReadonlyMap<string, string>;

  constructor(params: URLSearchParams) {
    this.#values = new Map([...params].toReversed().map(([name, value]) => [name.toLowerCase(), value]));
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase());
  }

  /** The values of these names, under their spelling; absent ones are left out. */
  pick(names: readonly string[]): Record<string, string> {
    const picked: Record<string, string> = {};
    for (const name of names) {
      const value = this.get(name);
      if (value !== undefined) picked[name] = value;
    }
    return picked;
  }
}
