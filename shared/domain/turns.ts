/**
 * The numbers of `units`, one of each disk in turn: workers that take them in this order work at all disks at once, rather than stand in
 * line at the first. Units of one disk keep their order.
 */
export function inTurns(units: readonly { readonly disk: number }[]): number[] {
  const turns = new Map<number, number>();
  return units
    .map(({ disk }, unit) => {
      const turn = turns.get(disk) ?? 0;
      turns.set(disk, turn + 1);
      return { unit, turn };
    })
    .sort((a, b) => a.turn - b.turn || a.unit - b.unit)
    .map(({ unit }) => unit);
}
