import type { Mutation } from './mutation.ts';

const SOFT_DELETE = 'services/soft-delete.test.ts';
const IMMUTABLE = 'arm/immutability.test.ts';
const CRASHES = 'services/crash-points.test.ts';

/** What would take away what is kept for whoever deletes, or may not delete. */
export const GUARD: readonly Mutation[] = [
  {
    name: 'guard: a soft delete keeps the policy in force',
    file: 'shared/services/soft-delete.ts',
    find: "          policyName: '',\n          protectionState: 'ProtectionStopped',\n",
    replace: '',
    tests: [SOFT_DELETE],
    why: 'points of an item that can be undeleted are merged away',
  },
  {
    name: 'guard: a soft delete leaves the chain as it is',
    file: 'shared/services/soft-delete.ts',
    find: "  await setState(ports, container, itemId, 'stopped', () => isMarked(ports, vault, key));\n  await endBackups",
    replace: '  await endBackups',
    tests: [SOFT_DELETE],
    why: 'a merge that was planned before commits after the delete was answered',
  },
  {
    name: 'guard: the second delete begins the days anew',
    file: 'shared/services/soft-delete.ts',
    find: '    item.deferredDelete !== undefined || item.itemId !== itemId\n',
    replace: '    item.itemId !== itemId\n',
    tests: [SOFT_DELETE],
    why: 'nobody knows until when the data is kept',
  },
  {
    name: 'guard: backups go on when their item is deleted',
    file: 'shared/services/soft-delete.ts',
    find: '  await endBackups(ports, vault, key);\n',
    replace: '',
    tests: [SOFT_DELETE, CRASHES],
    why: 'deleted data grows',
  },
  {
    name: 'guard: what is deleted softly can be protected',
    file: 'shared/services/protection.ts',
    find: '    refuseSoftDeleted(existing.row);\n',
    replace: '',
    also: [
      {
        find: '      refuseSoftDeleted(item); // a delete was first: merges look at the row too, whatever the chain says now\n',
        replace: '',
      },
    ],
    tests: [SOFT_DELETE],
    why: 'a deleted item takes backups, and its points expire',
  },
  {
    name: 'guard: what is protected is undeleted, which stops it',
    file: 'shared/services/soft-delete.ts',
    find: "  if (deferredDelete === undefined && protectionState !== 'ProtectionStopped') {",
    replace: '  if (deferredDelete === undefined && protectionState === undefined) {',
    tests: [SOFT_DELETE],
    why: 'a request that has nothing to undelete is told that it has',
  },
  {
    name: 'guard: a lock is taken off by PUT and PATCH',
    file: 'shared/services/vaults.ts',
    find: '    if (found !== undefined) checkVaultChange(found.row.properties, request.properties);\n',
    replace: '',
    tests: [IMMUTABLE],
    why: 'whoever has taken over an account deletes the backups after all',
  },
  {
    name: 'guard: a policy of an immutable vault is shortened',
    file: 'shared/services/policies.ts',
    find: '    if (found !== undefined) checkPolicyChange(await propertiesOf(ports, vault), found.row.rules, rules);\n',
    replace: '',
    tests: [IMMUTABLE],
    why: 'points of an immutable vault expire early',
  },
  {
    name: 'guard: an item is stopped and resumed with less',
    file: 'shared/services/protection.ts',
    find: '  return (await policyOf(ports, vault, item)) ?? item.stoppedUnder;\n',
    replace: '  return policyOf(ports, vault, item);\n',
    tests: [IMMUTABLE],
    why: 'stopping is a way round immutability',
  },
  {
    name: 'guard: immutable data is deleted softly',
    file: 'shared/services/soft-delete.ts',
    find: '  if (found.row.deferredDelete === undefined)\n    refuseIfImmutable(vaultRow.properties, `the data of ${vmName} cannot be deleted`);\n',
    replace: '',
    tests: [IMMUTABLE],
    why: 'backups of what should be immutable end',
  },
];
