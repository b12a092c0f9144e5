import type { Mutation } from './mutation.ts';

const LOG = 'services/log.test.ts';
const ALERTS = 'services/alerts.test.ts';

/** What would let a secret out, or leave people without a word of what has gone wrong. */
export const OPERATIONS: readonly Mutation[] = [
  {
    name: 'operations: a line is logged as it was written',
    file: 'shared/app/log.ts',
    find: 'const shown = hideSecrets(message, secrets);',
    replace: 'const shown = message;',
    tests: [LOG],
    why: 'who reads the log reads the disks',
  },
  {
    name: 'operations: a failure is thrown on as it was',
    file: 'shared/app/settle.ts',
    find: 'throw withoutSecrets(error);',
    replace: 'throw error;',
    tests: [LOG],
    why: 'the platform logs what is thrown, with the SAS in it',
  },
  {
    name: 'operations: only the message of a failure is looked at, not its causes',
    file: 'shared/app/settle.ts',
    find: 'own instanceof Error && all.length < 10; own = own.cause',
    replace: 'own instanceof Error && all.length < 1; own = own.cause',
    tests: [LOG],
    why: 'the platform logs causes too',
  },
  {
    name: 'operations: callers are told what storage has said, signatures included',
    file: 'shared/arm/errors.ts',
    find: 'message: hideSecrets(error.message),',
    replace: 'message: error.message,',
    tests: [LOG],
    why: 'a reader of the vault learns how to write to it',
  },
  {
    name: 'operations: a job keeps the signatures in its reasons',
    file: 'shared/services/jobs.ts',
    find: 'message: hideSecrets(error.message), recommendations',
    replace: 'message: error.message, recommendations',
    tests: [LOG],
    why: 'a reader of the vault learns how to write to it',
  },
  {
    name: 'operations: alerts are told without a claim',
    file: 'shared/services/alerts.ts',
    find: 'await put({ ...row, nextTryAt: now + CLAIM_MS });',
    replace: '',
    tests: [ALERTS],
    why: 'people hear of each failure as often as there are ticks at once, and stop listening',
  },
  {
    name: 'operations: what the receiver has refused is not told again',
    file: 'shared/services/alerts.ts',
    find: 'await put({ ...row, failures, nextTryAt: now + retryMs(failures) });',
    replace: 'await put({ ...row, failures, toldAt: now, nextTryAt: now });',
    tests: [ALERTS],
    why: 'nobody learns that the backups fail',
  },
  {
    name: 'operations: a late backup is forgotten when the next one is due',
    file: 'shared/services/alert-look.ts',
    find: 'lastDue(policy.rules, now - LATE_MS);',
    replace: 'now - lastDue(policy.rules, now) > LATE_MS ? lastDue(policy.rules, now) : 0;',
    tests: [ALERTS],
    why: 'a schedule that stands still looks well for two hours of each day',
  },
  {
    name: 'operations: any point counts as recent',
    file: 'shared/services/alert-look.ts',
    find: "['instant', 'vault'], { from })",
    replace: "['instant', 'vault'], {})",
    tests: [ALERTS],
    why: 'an item without backups looks well for as long as its last point is kept',
  },
];
