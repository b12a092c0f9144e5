/** The LUN of the OS disk, which is always backed up. */
export const OS_LUN = -1;

/** Which data disks of a VM are backed up, by LUN: these alone, or all but these. */
export interface DiskSelection {
  readonly luns: readonly number[];
  readonly isInclusion: boolean;
}

/** Whether a disk is backed up; without a selection all are. A LUN that the VM does not have selects nothing. */
export function isSelected(lun: number, selection: DiskSelection | undefined): boolean {
  return lun === OS_LUN || selection === undefined || selection.luns.includes(lun) === selection.isInclusion;
}

/** A VM's disks, those that are backed up and those that are not, each in the VM's order. */
export function selectDisks<Disk extends { readonly lun: number }>(
  disks: readonly Disk[],
  selection: DiskSelection | undefined,
): { selected: Disk[]; excluded: Disk[] } {
  return {
    selected: disks.filter(({ lun }) => isSelected(lun, selection)),
    excluded: disks.filter(({ lun }) => !isSelected(lun, selection)),
  };
}

export function isSameSelection(a: DiskSelection | undefined, b: DiskSelection | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.isInclusion === b.isInclusion && a.luns.length === b.luns.length && a.luns.every((lun, i) => lun === b.luns[i])
  );
}
