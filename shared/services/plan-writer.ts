import type { VaultContainer } from '../vault/vault-container.ts';
import { type PartedPlan, storePlan } from './plans.ts';

/** What a writer has to know of one kind of plan. */
export interface PlanKind<Plan> {
  /** Two pieces of a plan as one. */
  readonly join: (one: Plan, next: Plan) => Plan;
  /** Regions and layers that a piece names: what it takes in memory goes by them. */
  readonly weight: (piece: Plan) => number;
  /** What its units have to look at or to write. */
  readonly bytes: (piece: Plan) => number;
}

/** A part of a plan names as many regions and layers as so many spans have regions; or what one span names, where that is more. */
export const PART_SPANS = 4;

type PartsOf = { units: number; bytes: number }[];

/**
 * Writes a plan a piece at a time: in one document where it is small, else in parts, each closed once it weighs enough. Nothing is
 * written before `note` has put the plan's attempt on its job: what is not noted belongs to nobody.
 */
export class PlanWriter<Plan extends PartedPlan & { parts?: PartsOf | undefined }> {
  readonly #container: VaultContainer;
  readonly #kind: PlanKind<Plan>;
  readonly #mostWeight: number;
  readonly #note: (bytes: number) => Promise<boolean>;
  readonly #parts: PartsOf = [];
  #first: Plan | undefined;
  #open: Plan | undefined;
  #isNoted: Promise<boolean> | undefined;

  /**
   * `note` answers whether the attempt stands on the job now; false: another run's does. It is told the plan's bytes, or of a plan in
   * parts those that are known by then.
   */
  constructor(
    container: VaultContainer,
    kind: PlanKind<Plan>,
    mostWeight: number,
    note: (bytes: number) => Promise<boolean>,
  ) {
    this.#container = container;
    this.#kind = kind;
    this.#mostWeight = mostWeight;
    this.#note = note;
  }

  /** Adds a piece: a plan with some of the units, and what they need to be understood. False: the plan is not wanted any more. */
  async add(piece: Plan): Promise<boolean> {
    this.#open = this.#open === undefined ? piece : this.#kind.join(this.#open, piece);
    return this.#kind.weight(this.#open) < this.#mostWeight || this.#close();
  }

  /**
   * Stores the rest; answers the plan's first part, or undefined when it is not wanted any more. `empty` is the plan without units. A plan in
   * one document of which `isKept` says no is the caller's to store, before its first object.
   */
  async finish(empty: Plan, isKept: (plan: Plan) => boolean = () => true): Promise<Plan | undefined> {
    this.#open ??= this.#first === undefined ? empty : undefined;
    if (this.#open !== undefined && !(await this.#close())) return undefined;
    if (!(await this.#noted())) return undefined;
    const first = this.#first!;
    const plan: Plan = this.#parts.length === 1 ? first : { ...first, parts: this.#parts, format: 3 };
    if (plan.parts === undefined && !isKept(plan)) return plan;
    await storePlan(this.#container, plan);
    return plan;
  }

  async #close(): Promise<boolean> {
    const piece = this.#open!;
    const number = this.#parts.length;
    this.#open = undefined;
    this.#parts.push({ units: piece.units.length, bytes: this.#kind.bytes(piece) });
    if (number === 0) {
      this.#first = piece; // written last, when it is known what else there is
      return true;
    }
    if (!(await this.#noted())) return false;
    await storePlan(this.#container, { ...piece, format: 3 }, number);
    return true;
  }

  #noted(): Promise<boolean> {
    return (this.#isNoted ??= this.#note(this.#parts.reduce((sum, { bytes }) => sum + bytes, 0)));
  }
}
