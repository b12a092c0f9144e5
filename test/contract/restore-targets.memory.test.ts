import { memoryDisks } from '../support/memory-disks.ts';
import { restoreTargetsContract } from './restore-targets.contract.ts';
import type { RestoreTargetsSubject } from './restore-targets-crashes.contract.ts';

for (const kind of ['page blob', 'managed disk'] as const) {
  restoreTargetsContract(
    `in memory, ${kind}`,
    async (): Promise<RestoreTargetsSubject> => {
      const owner = memoryDisks({ clock: { now: () => Date.now() }, kind });
      return {
        targets: owner.targets,
        owner,
        mortal(n, when) {
          let count = 0;
          const targets = owner.targetsThrough(async (request) => {
            count += 1;
            if (count > n || (count === n && when === 'before')) throw new Error('the worker is dead');
            const answer = request();
            if (count === n) throw new Error('the worker died');
            return answer;
          });
          return { targets, died: () => count >= n };
        },
        sleepy(n, meanwhile) {
          let count = 0;
          const targets = owner.targetsThrough(async (request) => {
            count += 1;
            if (count === n) await meanwhile();
            return request();
          });
          return { targets, slept: () => count >= n };
        },
        close: async () => {},
      };
    },
    kind,
  );
}
