import { memoryDisks } from '../support/memory-disks.ts';
import { diskSnapshotsContract } from './disk-snapshots.contract.ts';

for (const diff of ['exact', 'lying'] as const) {
  diskSnapshotsContract(`in memory, ${diff}`, diff, async () => {
    const owner = memoryDisks({ clock: { now: () => Date.now() }, diff, rangesPerPage: 3 });
    return { snapshots: owner.snapshots, owner, close: async () => {} };
  });
}
