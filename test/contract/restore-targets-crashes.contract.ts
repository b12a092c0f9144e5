import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { RestoreTarget, RestoreTargets } from '../../shared/disk/restore-targets.ts';
import type { DiskOwner } from '../support/disk-owner.ts';

export interface RestoreTargetsSubject {
  readonly targets: RestoreTargets;
  readonly owner: DiskOwner;
  /**
   * A worker that dies at its `n`th request (from 1): before the storage sees it, or after it was done and before the answer is
   * heard. Nothing that it asks later happens. `died` says whether it came so far.
   */
  mortal(n: number, when: 'before' | 'after'): { readonly targets: RestoreTargets; readonly died: () => boolean };
  /** A worker that falls asleep before its `n`th request; `meanwhile` happens, and it goes on. */
  sleepy(
    n: number,
    meanwhile: () => Promise<void>,
  ): { readonly targets: RestoreTargets; readonly slept: () => boolean };
  close(): Promise<void>;
}

const MIB = 1_048_576;

/** What every implementation of RestoreTargets promises to jobs whose workers die, or sleep while a twin does their work. */
export function restoreTargetsCrashes(
  subjectOf: () => RestoreTargetsSubject,
  itOfBlobs: typeof it | (() => void),
): void {
  const newTarget = (): RestoreTarget => ({ url: subjectOf().owner.newUrl(), leaseId: randomUUID() });

  describe.each(['before', 'after'] as const)('a worker that dies %s a request, and the redelivery', (when) => {
    /** Runs `act` with a worker that dies at request 1, 2, ... until one comes through; `check` follows each death. */
    async function atEachRequest(
      prepare: (target: RestoreTarget) => Promise<void>,
      act: (mortal: RestoreTargets, target: RestoreTarget) => Promise<void>,
      check: (target: RestoreTarget) => Promise<void>,
    ): Promise<number> {
      for (let n = 1; ; n++) {
        const target = newTarget();
        await prepare(target);
        const { targets: mortal, died } = subjectOf().mortal(n, when);
        const outcome = await act(mortal, target).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (!died()) {
          if (outcome !== undefined) throw outcome;
          return n - 1;
        }
        await check(target);
      }
    }

    it('of create', async () => {
      const deaths = await atEachRequest(
        async () => {},
        (mortal, target) => mortal.create(target, MIB, 'job-1'),
        async (target) => {
          await subjectOf().targets.create(target, MIB, 'job-1');
          expect(await subjectOf().owner.metadata(target.url)).toEqual({ strata_incomplete: 'job-1' });
          await subjectOf().targets.write(target, 0, new Uint8Array(512).fill(1));
          await subjectOf().targets.complete(target);
        },
      );
      expect(deaths).toBeGreaterThanOrEqual(2);
    });

    it('of create, given up', async () => {
      await atEachRequest(
        async () => {},
        (mortal, target) => mortal.create(target, MIB, 'job-1'),
        async (target) => {
          await subjectOf().targets.discard(target, 'job-1');
          expect(await subjectOf().owner.metadata(target.url)).toBeUndefined();
        },
      );
    });

    it('of complete', async () => {
      const deaths = await atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (mortal, target) => mortal.complete(target),
        async (target) => {
          await subjectOf().targets.complete(target);
          expect(await subjectOf().owner.metadata(target.url)).toEqual({});
          expect(await subjectOf().owner.isLeased(target.url)).toBe(false);
        },
      );
      expect(deaths).toBeGreaterThanOrEqual(3);
    });

    it('of complete, met by a discard', async () => {
      await atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (mortal, target) => mortal.complete(target),
        async (target) => {
          const before = await subjectOf().owner.metadata(target.url);
          await subjectOf().targets.discard(target, 'job-1');
          const after = await subjectOf().owner.metadata(target.url);
          expect(after).toEqual(before?.['strata_incomplete'] === undefined ? {} : undefined);
        },
      );
    });

    it('of discard', async () => {
      const deaths = await atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (mortal, target) => mortal.discard(target, 'job-1'),
        async (target) => {
          await subjectOf().targets.discard(target, 'job-1');
          expect(await subjectOf().owner.metadata(target.url)).toBeUndefined();
        },
      );
      expect(deaths).toBeGreaterThanOrEqual(1);
    });
  });

  describe('a worker that falls asleep before a request, and finds the twin done', () => {
    /** Runs `act` asleep before request 1, 2, ... until it needs no more; `check` gets how each ended. */
    async function atEachRequest(
      prepare: (target: RestoreTarget) => Promise<void>,
      act: (sleepy: RestoreTargets, target: RestoreTarget) => Promise<void>,
      meanwhile: (target: RestoreTarget) => Promise<void>,
      check: (target: RestoreTarget, error: unknown) => Promise<void>,
    ): Promise<void> {
      for (let n = 1; ; n++) {
        const target = newTarget();
        await prepare(target);
        const { targets: sleepy, slept } = subjectOf().sleepy(n, () => meanwhile(target));
        const error = await act(sleepy, target).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (!slept()) return;
        await check(target, error);
      }
    }

    async function expectHandedOver({ url }: RestoreTarget): Promise<void> {
      expect(await subjectOf().owner.metadata(url)).toEqual({});
      expect(await subjectOf().owner.isLeased(url)).toBe(false);
      expect(await subjectOf().targets.readBack(url, { start: 0, end: 512 })).toEqual(new Uint8Array(512).fill(1));
    }

    async function doItAll(target: RestoreTarget): Promise<void> {
      await subjectOf().targets.create(target, MIB, 'job-1');
      await subjectOf().targets.write(target, 0, new Uint8Array(512).fill(1));
      await subjectOf().targets.complete(target);
    }

    it('a late create neither locks nor changes the disk', () =>
      atEachRequest(
        async () => {},
        (sleepy, target) => sleepy.create(target, MIB, 'job-1'),
        doItAll,
        async (target, error) => {
          expect(error).toMatchObject({ code: 'UserErrorRestoreTargetExists' });
          await expectHandedOver(target);
        },
      ));

    itOfBlobs('a late discard does not delete the disk', () =>
      atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (sleepy, target) => sleepy.discard(target, 'job-1'),
        doItAll,
        async (target, error) => {
          expect(error).toBeUndefined();
          await expectHandedOver(target);
        },
      ),
    );

    itOfBlobs('a late discard does not delete a disk whose mark is off and whose lease is about to end', () =>
      atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (sleepy, target) => sleepy.discard(target, 'job-1'),
        ({ url, leaseId }) => subjectOf().owner.setMetadata(url, {}, leaseId),
        async ({ url }, error) => {
          expect(error).toBeUndefined();
          expect(await subjectOf().owner.metadata(url)).toEqual({});
        },
      ),
    );

    it('a late complete finds the disk complete', () =>
      atEachRequest(
        async (target) => {
          await subjectOf().targets.create(target, MIB, 'job-1');
          await subjectOf().targets.write(target, 0, new Uint8Array(512).fill(1));
        },
        (sleepy, target) => sleepy.complete(target),
        (target) => subjectOf().targets.complete(target),
        async (target, error) => {
          expect(error).toBeUndefined();
          await expectHandedOver(target);
        },
      ));

    it('a late complete does not bring back a discarded disk', () =>
      atEachRequest(
        (target) => subjectOf().targets.create(target, MIB, 'job-1'),
        (sleepy, target) => sleepy.complete(target),
        (target) => subjectOf().targets.discard(target, 'job-1'),
        async ({ url }, error) => {
          const left = await subjectOf().owner.metadata(url);
          if (left === undefined) expect(error).toMatchObject({ code: 'BlobNotFound' });
          else {
            // It slept before its last request, the end of the lease: the mark was off, so that nothing was discarded.
            expect(error).toBeUndefined();
            expect(left).toEqual({});
            expect(await subjectOf().owner.isLeased(url)).toBe(false);
          }
        },
      ));
  });
}
