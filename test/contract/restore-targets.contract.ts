import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ByteRange } from '../../shared/domain/units.ts';
import type { RestoreTarget, RestoreTargets } from '../../shared/disk/restore-targets.ts';
import type { DiskOwner } from '../support/disk-owner.ts';
import { type RestoreTargetsSubject, restoreTargetsCrashes } from './restore-targets-crashes.contract.ts';

const KIB = 1_024;
const MIB = 1_048_576;

/**
 * What every implementation of RestoreTargets promises. A managed disk has no lease of the job's choosing, no text beside it, and no
 * conditions on a delete: there `complete` and `discard` rely on the job's outcome, which says which of the two it is.
 */
export function restoreTargetsContract(
  implementation: string,
  start: () => Promise<RestoreTargetsSubject>,
  kind: 'page blob' | 'managed disk' = 'page blob',
): void {
  const managed = kind === 'managed disk';
  const itOfBlobs = managed ? () => undefined : it;
  describe(`restore targets: ${implementation}`, () => {
    let subject: RestoreTargetsSubject;
    let targets: RestoreTargets;
    let owner: DiskOwner;
    beforeAll(async () => {
      subject = await start();
      ({ targets, owner } = subject);
    });
    afterAll(() => subject?.close());

    const newTarget = (name?: string): RestoreTarget => ({ url: owner.newUrl(name), leaseId: randomUUID() });
    const lost = { code: 'ResourceIsLeased' };

    it('a disk is made, written, read back and handed over', async () => {
      const target = newTarget(managed ? 'restored_disk-1' : 'restored/größe.vhd');
      await targets.create(target, 12 * MIB + 512, 'job-1');
      expect(await owner.metadata(target.url)).toEqual({ strata_incomplete: 'job-1' });
      expect(await owner.isLeased(target.url)).toBe(true);

      const body = new Uint8Array(9 * MIB);
      for (let i = 0; i < body.length; i += 512) body.fill(1 + ((i / 512) % 251), i, i + 512);
      await targets.write(target, MIB, body);
      await targets.write(target, 12 * MIB, new Uint8Array(512).fill(9));
      await targets.write(target, 11 * MIB, new Uint8Array(0));
      const found = await targets.readBack(target.url, { start: 0, end: 12 * MIB + 512 });
      const expected = Buffer.concat([Buffer.alloc(MIB), body, Buffer.alloc(2 * MIB), Buffer.alloc(512, 9)]);
      expect(Buffer.compare(found, expected)).toBe(0);
      expect(await targets.readBack(target.url, { start: MIB - 1, end: MIB + 1 })).toEqual(Uint8Array.of(0, 1));
      const used = new Uint8Array(64).fill(7);
      expect(Uint8Array.from(await targets.readBack(target.url, { start: MIB - 1, end: MIB + 1 }, used))).toEqual(
        Uint8Array.of(0, 1),
      );
      expect(await allocated(target, 0, 16 * MIB)).toEqual([
        { start: MIB, end: 10 * MIB },
        { start: 12 * MIB, end: 12 * MIB + 512 },
      ]);
      expect(await allocated(target, 2 * MIB, 2 * MIB + 512)).toEqual([{ start: 2 * MIB, end: 2 * MIB + 512 }]);
      expect(await allocated(target, 20 * MIB, 21 * MIB)).toEqual([]);

      await targets.complete(target);
      await targets.complete(target);
      expect(await owner.metadata(target.url)).toEqual({});
      expect(await owner.isLeased(target.url)).toBe(false);
      await owner.write(target.url, 0, new Uint8Array(512).fill(5)); // the VM's first write
    });

    itOfBlobs('a write comes through only under the lease', async () => {
      const target = newTarget();
      const page = new Uint8Array(512).fill(1);
      await expect(targets.write(target, 0, page)).rejects.toMatchObject({ code: 'BlobNotFound' });
      await targets.create(target, MIB, 'job-1');
      await expect(targets.write({ ...target, leaseId: randomUUID() }, 0, page)).rejects.toMatchObject(lost);
      await owner.breakLease(target.url);
      await expect(targets.write(target, 0, page)).rejects.toMatchObject(lost);
      await expect(targets.complete(target)).rejects.toMatchObject(lost);
      expect(await owner.metadata(target.url)).toEqual({ strata_incomplete: 'job-1' });
      await targets.create(target, MIB, 'job-1');
      await targets.write(target, 0, page);
      await targets.complete(target);
      await expect(targets.write(target, 512, page)).rejects.toMatchObject(lost);
      expect(await allocated(target, 0, MIB)).toEqual([{ start: 0, end: 512 }]);
    });

    it('a late write is refused once the disk has been handed over, and a write to nothing', async () => {
      const target = newTarget();
      const page = new Uint8Array(512).fill(1);
      await expect(targets.write(target, 0, page)).rejects.toMatchObject({ code: 'BlobNotFound' });
      await targets.create(target, MIB, 'job-1');
      await targets.write(target, 0, page);
      await targets.complete(target);
      for (let n = 0; n < 2; n++) await expect(targets.write(target, 512, page)).rejects.toMatchObject(lost);
      expect(await allocated(target, 0, MIB)).toEqual([{ start: 0, end: 512 }]);
      await targets.complete(target);
      await targets.discard(target, 'job-1');
      await expect(targets.create(target, MIB, 'job-1')).rejects.toMatchObject({
        code: 'UserErrorRestoreTargetExists',
      });
      expect(await owner.metadata(target.url)).toEqual({});
      expect(await allocated(target, 0, MIB)).toEqual([{ start: 0, end: 512 }]);
    });

    itOfBlobs('a disk that the VM has taken over is out of reach', async () => {
      const target = newTarget();
      await targets.create(target, MIB, 'job-1');
      await targets.complete(target);
      const vmLease = randomUUID();
      await owner.lease(target.url, vmLease);
      await targets.complete(target);
      await targets.discard(target, 'job-1');
      await expect(targets.write(target, 0, new Uint8Array(512).fill(1))).rejects.toMatchObject(lost);
      await expect(targets.create(target, MIB, 'job-1')).rejects.toMatchObject({
        code: 'UserErrorRestoreTargetExists',
      });
      expect(await owner.isLeased(target.url)).toBe(true);
      expect(await allocated(target, 0, MIB)).toEqual([]);
    });

    it('what exists is not touched', async () => {
      const exists = { code: 'UserErrorRestoreTargetExists' };
      const disk = newTarget();
      await owner.create(disk.url, MIB, { owner: 'somebody' });
      await owner.write(disk.url, 0, new Uint8Array(512).fill(1));
      await expect(targets.create(disk, MIB, 'job-1')).rejects.toMatchObject(exists);
      await targets.discard(disk, 'job-1');
      expect(await owner.metadata(disk.url)).toEqual({ owner: 'somebody' });
      expect(await owner.isLeased(disk.url)).toBe(false);
      if (!managed) {
        await owner.lease(disk.url, randomUUID());
        await expect(targets.create(disk, MIB, 'job-1')).rejects.toMatchObject(exists);

        const text = newTarget('notes.txt');
        await owner.putText(text.url, 'precious');
        await expect(targets.create(text, MIB, 'job-1')).rejects.toMatchObject(exists);
        expect(await owner.text(text.url)).toBe('precious');
      }

      const other = newTarget();
      await targets.create(other, MIB, 'job-1');
      await expect(targets.create({ ...other, leaseId: randomUUID() }, MIB, 'job-2')).rejects.toMatchObject(exists);
      await expect(targets.create(other, 2 * MIB, 'job-1')).rejects.toMatchObject(exists);
      await targets.discard({ ...other, leaseId: randomUUID() }, 'job-2');
      await targets.write(other, 0, new Uint8Array(512).fill(1));
    });

    itOfBlobs('a second lease of the same job is refused while the first is held', async () => {
      const target = newTarget();
      await targets.create(target, MIB, 'job-1');
      const twin = { ...target, leaseId: randomUUID() };
      await expect(targets.create(twin, MIB, 'job-1')).rejects.toMatchObject(lost);
      await expect(targets.discard(twin, 'job-1')).rejects.toMatchObject(lost);
      await targets.write(target, 0, new Uint8Array(512).fill(1));
    });

    it('is discarded only as long as it is incomplete', async () => {
      const target = newTarget();
      await targets.discard(target, 'job-1');
      await targets.create(target, MIB, 'job-1');
      await targets.discard(target, 'job-1');
      await targets.discard(target, 'job-1');
      expect(await owner.metadata(target.url)).toBeUndefined();
      await expect(targets.complete(target)).rejects.toMatchObject({ code: 'BlobNotFound' });
      await expect(targets.readBack(target.url, { start: 0, end: 1 })).rejects.toMatchObject({ code: 'BlobNotFound' });
      await expect(allocated(target, 0, MIB)).rejects.toMatchObject({ code: 'BlobNotFound' });

      if (!managed) {
        await targets.create(target, MIB, 'job-1');
        await owner.breakLease(target.url);
        await targets.discard(target, 'job-1');
        expect(await owner.metadata(target.url)).toBeUndefined();
      }

      await targets.create(target, MIB, 'job-1');
      await targets.complete(target);
      await targets.discard(target, 'job-1');
      expect(await owner.metadata(target.url)).toEqual({});
    });

    it('what is written or asked for must be whole sectors of the disk', async () => {
      const target = newTarget();
      await expect(targets.create(target, 1_000, 'job-1')).rejects.toBeInstanceOf(RangeError);
      await targets.create(target, MIB, 'job-1');
      await expect(targets.write(target, 100, new Uint8Array(512))).rejects.toBeInstanceOf(RangeError);
      await expect(targets.write(target, 0, new Uint8Array(100))).rejects.toBeInstanceOf(RangeError);
      const beyond = targets.readBack(target.url, { start: MIB - 1, end: MIB + 1 });
      await expect(beyond).rejects.toBeInstanceOf(RangeError);
    });

    itOfBlobs('a text is put beside the disks, and put again', async () => {
      const { url } = newTarget('restore.json');
      await targets.putText(url, '{"grüße": 1}');
      await targets.putText(url, '{"grüße": 2}');
      expect(await owner.text(url)).toBe('{"grüße": 2}');
    });

    it('twins that do everything at once end in one complete disk', async () => {
      const target = newTarget();
      await Promise.all([targets.create(target, MIB, 'job-1'), targets.create(target, MIB, 'job-1')]);
      await Promise.all([0, 1, 2, 3].map(() => targets.write(target, 0, new Uint8Array(4 * KIB).fill(7))));
      await Promise.all([targets.complete(target), targets.complete(target)]);
      expect(await owner.metadata(target.url)).toEqual({});
      expect(await owner.isLeased(target.url)).toBe(false);
      expect(await targets.readBack(target.url, { start: 0, end: 512 })).toEqual(new Uint8Array(512).fill(7));
    });

    restoreTargetsCrashes(() => subject, itOfBlobs);

    async function allocated(target: RestoreTarget, start: number, end: number): Promise<ByteRange[]> {
      const found: ByteRange[] = [];
      for await (const range of targets.allocated(target, { start, end })) found.push(range);
      return found;
    }
  });
}
