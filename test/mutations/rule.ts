import type { Mutation } from './mutation.ts';

/** A rule switched off in one of its clauses, and the named test that must fail then. */
type Off = Omit<Mutation, 'name' | 'tests' | 'only'> & {
  readonly off: string;
  readonly only: string;
  /** Where the rule's own file leaves the clause to the tests of what it is about. */
  readonly tests?: readonly string[];
};

/** The mutations of rule `number`; their tests stand in the rule's own file. */
export function rule(number: number, tests: string, offs: readonly Off[]): Mutation[] {
  const own = [`simulation/rules/${tests}.test.ts`];
  return offs.map(({ off, ...mutation }) => ({ tests: own, ...mutation, name: `rule ${number}: ${off}` }));
}
