import type { Mutation } from './mutation.ts';

const LIES = 'services/lying-diff.test.ts';
const WALK = 'domain/audit.test.ts';
const TRUST = 'domain/trust.test.ts';
const PACE = 'services/source-pace.test.ts';
const TRAPS = 'services/traps.test.ts';

/** What would let a source of changes lie, or wear a disk out. */
export const AUDIT: readonly Mutation[] = [
  {
    name: 'audit: nothing is read of what is called unchanged',
    file: 'shared/services/changed-blocks.ts',
    find: "const isAudited = audit !== undefined && !isGone && disk.source === 'diff';",
    replace: 'const isAudited = false;',
    tests: [LIES],
    why: 'a change that the source has left out is never backed up',
  },
  {
    name: 'audit: what is cleared behind the back of the source is passed over',
    file: 'shared/services/changed-blocks.ts',
    find: 'cleared: without(intersection(stored, audit), read) };',
    replace: 'cleared: [] };',
    tests: [LIES],
    why: 'discarded blocks come back with their old bytes',
  },
  {
    name: 'audit: it begins at the start of the disk every night',
    file: 'shared/services/plan-audit.ts',
    find: 'from: disk.trust?.auditedTo ?? 0,',
    replace: 'from: 0,',
    tests: [LIES],
    why: 'all but the first of the disk is never looked at',
  },
  {
    name: 'audit: it goes on behind what it has not read',
    file: 'shared/domain/audit.ts',
    find: 'if (count === 0) return this.#stop(at);',
    replace: 'if (count === 0) return this.#stop(end);',
    tests: [WALK],
    why: 'the ends of long runs are never looked at',
  },
  {
    name: 'audit: regions of which nothing is allocated are passed over',
    file: 'shared/domain/audit.ts',
    find: 'return this.#passKnown(region) && this.#touch(region);',
    replace: 'return this.#touch(region);',
    tests: [WALK],
    why: 'a region cleared behind the back of the source comes back',
  },
  {
    name: 'trust: a miss is not counted',
    file: 'shared/services/write-region.ts',
    find: '      if (!isTold) churn.missedBlocks += 1;',
    replace: '',
    tests: [LIES],
    why: 'nobody is told that the source lies, and it goes on',
  },
  {
    name: 'trust: a cleared block that was missed is not counted',
    file: 'shared/services/write-region.ts',
    find: 'if (!isReported(block)) churn.missedBlocks += 1;',
    replace: '',
    tests: [LIES],
    why: 'nobody is told that the source lies, and it goes on',
  },
  {
    name: 'trust: the manifest does not carry it',
    file: 'shared/services/transfer-manifest.ts',
    find: 'trust: trustOf(own, churn[index]!),',
    replace: '',
    tests: [LIES],
    why: 'the night after a miss believes the source that has lied',
  },
  {
    name: 'trust: a source that has lied is believed',
    file: 'shared/services/choose-source.ts',
    find: 'if (byHashes > 0) {',
    replace: 'if (byHashes < 0) {',
    tests: [LIES],
    why: 'what else it has left out is never found',
  },
  {
    name: 'trust: it does not get lost for longer',
    file: 'shared/domain/trust.ts',
    find: 'return Math.min(4 ** (misses - 1), MOST_BY_HASHES);',
    replace: 'return 1;',
    tests: [TRUST, LIES],
    why: 'a source that lies every other night is believed every other night',
  },
  {
    name: 'trust: a job says nothing of a miss',
    file: 'shared/services/end-job.ts',
    find: "const warnings = status === 'Completed' ? churnWarnings(job) : [];",
    replace: 'const warnings: ReturnType<typeof churnWarnings> = [];',
    tests: [LIES],
    why: 'earlier points are trusted that lack changes',
  },
  {
    name: 'pace: a refusal stops nothing',
    file: 'shared/disk/source-pace.ts',
    find: 'this.#pausedUntilMs = Math.max(this.#pausedUntilMs, nowMs + pause);',
    replace: 'void pause;',
    tests: [PACE],
    why: 'a disk that is overloaded is asked again at once',
  },
  {
    name: 'pace: windows never shrink',
    file: 'shared/disk/source-pace.ts',
    find: 'this.#window = Math.max(1, Math.floor(this.#window / 2));',
    replace: '',
    tests: [PACE],
    why: 'a disk that refuses is asked as much as before',
  },
  {
    name: 'pace: whoever came first is served until it is done',
    file: 'shared/disk/source-pace.ts',
    find: 'if (disk.waiting.length > 0) account.turns.push(disk);',
    replace: 'if (disk.waiting.length > 0) account.turns.unshift(disk);',
    tests: [PACE],
    why: 'a large disk keeps the others of its account waiting',
  },
  {
    name: 'ranges end before their last byte',
    file: 'shared/disk/page-blob-ranges.ts',
    find: "yield { kind: 'data', start: data.start, end: data.end + 1 };",
    replace: "yield { kind: 'data', start: data.start, end: data.end };",
    tests: [TRAPS],
    why: 'the last byte of each range is lost',
  },
];
