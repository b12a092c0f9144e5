import { type ManagedTargetsOptions, managedTargets } from '../../shared/disk/managed-targets.ts';
import type { RestoreTargets } from '../../shared/disk/restore-targets.ts';
import { startManagedPlatform } from '../support/managed-platform.ts';
import { restoreTargetsContract } from './restore-targets.contract.ts';
import type { RestoreTargetsSubject } from './restore-targets-crashes.contract.ts';

for (const mode of ['stock', 'completed'] as const) {
  restoreTargetsContract(
    `managed disks, ${mode}`,
    async (): Promise<RestoreTargetsSubject> => {
      const { endpoint, credential, location, owner, gate, ...platform } = await startManagedPlatform(mode);
      const make = (options: ManagedTargetsOptions): RestoreTargets => {
        const made = managedTargets(options);
        return {
          ...made,
          create: (target, sizeBytes, jobId) => made.create(target, sizeBytes, jobId, { location }),
          putText: () => Promise.reject(new Error('no text can be put beside a managed disk')),
        };
      };
      const targets = make({ endpoint, credential });
      /** A process of its own each time: a worker that died has nothing left in memory. */
      const gated = (): RestoreTargets => {
        const own = make({
          endpoint: gate.endpoint,
          credential,
          retries: 0,
          blobs: { retryOptions: { maxTries: 1 } },
        });
        return {
          ...targets,
          create: (target, sizeBytes, jobId) => own.create(target, sizeBytes, jobId),
          complete: (target) => own.complete(target),
          discard: (target, jobId) => own.discard(target, jobId),
        };
      };
      return {
        targets,
        owner,
        mortal(n, when) {
          gate.crashAt(n, when);
          return { targets: gated(), died: () => gate.seen.length >= n };
        },
        sleepy(n, meanwhile) {
          gate.pauseAt(n, meanwhile);
          return { targets: gated(), slept: () => gate.seen.length >= n };
        },
        close: () => platform.stop(),
      };
    },
    'managed disk',
  );
}
