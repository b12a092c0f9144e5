import { managedSnapshots } from '../../shared/disk/managed-snapshots.ts';
import { startManagedPlatform } from '../support/managed-platform.ts';
import { diskSnapshotsContract } from './disk-snapshots.contract.ts';

for (const [mode, diff] of [
  ['stock', 'lying'],
  ['completed', 'exact'],
] as const) {
  diskSnapshotsContract(
    `managed disks, ${mode}`,
    diff,
    async () => {
      const { endpoint, credential, owner, ...platform } = await startManagedPlatform(mode);
      return {
        snapshots: managedSnapshots({
          endpoint,
          credential,
          resourceGroup: 'strata-snapshots',
          // Small pages, so that every listing of the suite goes through many.
          blobs: { rangesPerPage: 150 },
        }),
        owner,
        close: () => platform.stop(),
      };
    },
    'managed disk',
  );
}
