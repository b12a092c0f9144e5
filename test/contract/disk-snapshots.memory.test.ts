import { memoryDisks } from '../support/memory-disks.ts';
import { diskSnapshotsContract } from './disk-snapshots.contract.ts';

for (const kind of ['page blob', 'managed disk'] as const) {
  for (const diff of ['exact', 'lying'] as const) {
    diskSnapshotsContract(
      `in memory, ${kind}, ${diff}`,
      diff,
      async () => {
        const owner = memoryDisks({ clock: { now: () => Date.now() }, diff, rangesPerPage: 3, kind });
        return { snapshots: owner.snapshots, owner, close: async () => {} };
      },
      kind,
    );
  }
}
