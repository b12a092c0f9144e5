/** A change of one place: `find` stands exactly once. */
export interface Edit {
  readonly find: string;
  readonly replace: string;
}

/** A change of `file` that would lose data or let damage pass, and the tests that must notice it: paths under test/. */
export interface Mutation extends Edit {
  readonly name: string;
  readonly file: string;
  /** More edits, made after the first, in this order. */
  readonly also?: readonly Edit[];
  readonly tests: readonly string[];
  /** Part of the name of the test that must fail; without it any of `tests` will do. */
  readonly only?: string;
  /** What would become of somebody's disk. */
  readonly why: string;
}
