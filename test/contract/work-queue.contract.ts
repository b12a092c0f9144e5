import { describe, expect, it } from 'vitest';
import { QUEUE_OF, type Step, type StepName } from '../../shared/queue/steps.ts';
import type { WorkQueue } from '../../shared/queue/work-queue.ts';

/** A message as a worker gets it. */
export interface TakenMessage {
  readonly text: string;
  readonly expiresAt: Date;
}

export interface QueueUnderTest {
  readonly queue: WorkQueue;
  /** Takes all messages of one queue that can be seen now, for good. */
  readonly take: (queueName: string) => Promise<TakenMessage[]>;
  /** Lets time pass. */
  readonly wait: (seconds: number) => Promise<void>;
}

const job = { v: 1, vault: 'vault-1', jobId: '7e6c1b7e-3c5f-4d57-8d0a-1f2d8e0f7a11' } as const;
const attempt = '0123456789abcdef';
const STEPS: Record<StepName, Step> = {
  'take-snapshot': { step: 'take-snapshot', ...job },
  'plan-transfer': { step: 'plan-transfer', ...job },
  'transfer-unit': { step: 'transfer-unit', ...job, attempt, unit: 0 },
  'plan-merge': { step: 'plan-merge', ...job },
  'merge-unit': { step: 'merge-unit', ...job, attempt, unit: 65_535 },
  'plan-compaction': { step: 'plan-compaction', ...job },
  'compact-unit': { step: 'compact-unit', ...job, attempt, unit: 0 },
  commit: { step: 'commit', ...job, attempt, round: 3 },
  reclaim: { step: 'reclaim', ...job, attempt },
  'plan-restore': { step: 'plan-restore', ...job },
  'restore-unit': { step: 'restore-unit', ...job, attempt, unit: 7 },
  'finish-restore': { step: 'finish-restore', ...job, attempt, round: 0 },
  'plan-verify': { step: 'plan-verify', ...job },
  'verify-unit': { step: 'verify-unit', ...job, attempt, unit: 12 },
  'finish-verify': { step: 'finish-verify', ...job, attempt, round: 1 },
  'verify-item': { step: 'verify-item', v: 1, vault: 'vault-1', itemId: 'vm;iaasvmcontainerv2;ü & <x>' },
  'clean-vault': { step: 'clean-vault', v: 1, vault: 'vault-1', run: '1760000000000-0a1b2c3d' },
  'clean-item': { step: 'clean-item', v: 1, vault: 'vault-1', itemId: 'vm;iaasvmcontainerv2;ü & <x>' },
  'rebuild-vault': { step: 'rebuild-vault', ...job, round: 2 },
  'rebuild-item': { step: 'rebuild-item', ...job, item: 'vm-0a1b2c3d' },
  'sweep-item': { step: 'sweep-item', v: 1, vault: 'vault-1', itemId: 'vm;iaasvmcontainerv2;ü & <x>' },
};

const decoded = (messages: readonly TakenMessage[]): unknown[] =>
  messages.map(({ text }) => JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as unknown);
const refused = (code: string) => expect.objectContaining({ name: 'BackupError', code });

/** What every WorkQueue does. `makeQueues` gives queues that hold no messages and that nobody else uses. */
export function workQueueContract(name: string, makeQueues: () => Promise<QueueUnderTest>): void {
  describe(`work queue: ${name}`, () => {
    it.each(Object.keys(STEPS) as StepName[])(
      '%s arrives on its queue, base64 of JSON, and never expires',
      async (step) => {
        const { queue, take } = await makeQueues();
        await queue.send(STEPS[step]);
        const messages = await take(QUEUE_OF[step]);
        expect(decoded(messages)).toEqual([STEPS[step]]);
        expect(messages[0]?.text).toMatch(/^[A-Za-z0-9+/]+=*$/);
        expect(messages[0]?.expiresAt.getUTCFullYear()).toBeGreaterThan(2_200);
      },
    );

    it('keeps the steps apart', async () => {
      const { queue, take } = await makeQueues();
      await queue.send(STEPS.commit);
      await queue.send(STEPS.reclaim);
      expect(decoded(await take(QUEUE_OF.commit))).toEqual([STEPS.commit]);
      expect(decoded(await take(QUEUE_OF.reclaim))).toEqual([STEPS.reclaim]);
    });

    it('senders that create a queue at the same time all succeed, and equal messages are not made one', async () => {
      const { queue, take } = await makeQueues();
      await Promise.all(Array.from({ length: 12 }, () => queue.send(STEPS['plan-merge'])));
      expect(await take(QUEUE_OF['plan-merge'])).toHaveLength(12);
    });

    it('a delayed message is not seen before its time', async () => {
      const { queue, take, wait } = await makeQueues();
      await queue.send(STEPS.commit, 2);
      await queue.send(STEPS['plan-merge'], 604_800);
      expect(await take(QUEUE_OF.commit)).toEqual([]);
      await wait(3);
      expect(decoded(await take(QUEUE_OF.commit))).toEqual([STEPS.commit]);
      expect(await take(QUEUE_OF['plan-merge'])).toEqual([]);
    });

    it.each([-1, 0.5, 604_801, Number.NaN])('refuses a delay of %d seconds', async (delay) => {
      const { queue, take } = await makeQueues();
      await expect(queue.send(STEPS.commit, delay)).rejects.toEqual(refused('InvalidRequest'));
      expect(await take(QUEUE_OF.commit)).toEqual([]);
    });

    it('takes 48 KiB of JSON, and not a byte more', async () => {
      const { queue, take } = await makeQueues();
      const ofBytes = (bytes: number): Step => {
        const empty = { ...STEPS['clean-item'], itemId: '' } as Step;
        return { ...empty, itemId: 'x'.repeat(bytes - JSON.stringify(empty).length) } as Step;
      };
      await queue.send(ofBytes(49_152));
      await expect(queue.send(ofBytes(49_153))).rejects.toEqual(refused('MessageInvalid'));
      expect(decoded(await take(QUEUE_OF['clean-item']))).toEqual([ofBytes(49_152)]);
    });

    it('refuses what nobody could read', async () => {
      const { queue, take } = await makeQueues();
      const wrong = { ...STEPS.commit, attempt: 'XYZ' } as Step;
      await expect(queue.send(wrong)).rejects.toEqual(refused('MessageInvalid'));
      expect(await take(QUEUE_OF.commit)).toEqual([]);
    });
  });
}
