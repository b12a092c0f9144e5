import { describe, expect, it } from 'vitest';
import {
  diskResource,
  isManagedDisk,
  managedDiskPlace,
  managedSnapshotId,
  snapshotResource,
} from '../../shared/disk/managed-ids.ts';
import { fromResourceTags, toResourceTags } from '../../shared/disk/managed-tags.ts';
import { snapshotTime, spreadMs } from '../../shared/disk/snapshot-time.ts';
import { aboutTag, readTags } from '../../shared/services/snapshot-tags.ts';
import { managedPlace } from '../../shared/services/restored-form.ts';

const DISK = '/subscriptions/S1/resourceGroups/App/providers/Microsoft.Compute/disks/Data_1';

describe('places of managed disks', () => {
  it('are the same however ARM spells them', () => {
    expect(isManagedDisk(DISK)).toBe(true);
    expect(isManagedDisk('https://account.blob.core.windows.net/vhds/disk.vhd')).toBe(false);
    expect(managedDiskPlace(diskResource(DISK))).toBe(managedDiskPlace(diskResource(DISK.toUpperCase())));
    expect(diskResource(DISK)).toEqual({ subscriptionId: 'S1', resourceGroup: 'App', name: 'Data_1' });
  });

  it.each([`${DISK}/more`, '/subscriptions/s', DISK.replace('disks', 'snapshots'), `${DISK}?x=1/2`])(
    '%s is none',
    (place) => expect(() => diskResource(place)).toThrow(/expected \/subscriptions\/<id>/),
  );

  it('of restored disks tell disk, role and job, in at most 80 letters that Compute takes', () => {
    const group = '/subscriptions/s/resourceGroups/g';
    const job = '9400f1b2-1cb5-27d7-fa3d-3eabba93557a';
    const name = (of: string, lun: number): string => managedPlace(group, job, of, lun).split('/').at(-1)!;
    expect(managedPlace(group, job, 'web-os.vhd', -1)).toBe(
      `${group}/providers/Microsoft.Compute/disks/web-os-os-9400f1b21cb5`,
    );
    expect(name('daten größe #1', 12)).toBe('daten-gr-e-1-lun12-9400f1b21cb5');
    for (const odd of ['', '---', '_x', 'ü', 'x'.repeat(90), `${'x'.repeat(61)}---.`]) {
      expect(name(odd, 3)).toMatch(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,78}[A-Za-z0-9]$/);
    }
  });
});

describe('ids of managed snapshots', () => {
  it('sort in time, and name their resource', () => {
    const at = new Date('2026-11-22T10:00:00.120Z');
    const first = managedSnapshotId(at, `${DISK.replace('/disks/', '/snapshots/')}-a`);
    const second = managedSnapshotId(new Date(at.getTime() + 1), '/subscriptions/a/b');
    expect(first < second).toBe(true);
    expect(snapshotResource(first)).toEqual({ subscriptionId: 's1', resourceGroup: 'app', name: 'data_1-a' });
    expect(snapshotTime(first)).toEqual({ clock: 'compute', atMs: at.getTime() });
  });

  it('are of one moment only with those of the same clock', () => {
    const blob = '2026-11-22T10:00:00.0000001Z';
    expect(snapshotTime(blob)?.clock).toBe('storage');
    expect(snapshotTime('x')).toBeUndefined();
    expect(spreadMs([blob, '2027-11-22T10:00:00.000Z/subscriptions/s'])).toBe(0);
    expect(spreadMs([blob, '2026-11-22T10:00:07.0000000Z', '2027-11-22T10:00:00.000Z/s'])).toBe(7_000);
    expect(spreadMs(['2027-11-22T10:00:00.000Z/s', '2027-11-22T10:00:09.000Z/t', 'x'])).toBe(9_000);
    expect(spreadMs([])).toBe(0);
  });
});

describe('tags of managed snapshots', () => {
  it('come back whole, whatever their length', () => {
    for (const value of ['x', 'x'.repeat(256), 'x'.repeat(257), 'y'.repeat(3_000), `a${' '.repeat(10)}b`.repeat(60)]) {
      const tags = toResourceTags({ about: value, job: '1' });
      for (const [name, piece] of Object.entries(tags)) {
        expect(name).toMatch(/^strata_(about|job)(\.\d+)?$/);
        expect(piece.length).toBeLessThanOrEqual(256);
        expect(piece).toBe(piece.trim());
      }
      expect(fromResourceTags({ ...tags, owner: 'them', 'about.2': 'no' })).toEqual({ about: value, job: '1' });
    }
  });

  it('tell of the point that a snapshot was taken for', () => {
    const vm = {
      id: `/subscriptions/s/resourceGroups/${'g'.repeat(90)}/providers/Microsoft.Compute/virtualMachines/größe`,
      vmId: 'v',
      name: 'größe & co',
      resourceGroup: 'g'.repeat(90),
      location: 'westeurope',
      size: 'Standard_D2s_v5',
      osType: 'Linux',
    };
    const managed = { sku: 'Premium_LRS', hyperVGeneration: 'V2' as const };
    const about = { lun: 63, name: 'ü'.repeat(80), createdAt: 'c', managed, takenAt: 1, dueAt: 2, vm };
    const tags = {
      job: '9400f1b2-1cb5-27d7-fa3d-3eabba93557a',
      point: '17675844808850000',
      attempt: 'a'.repeat(16),
      disk: 'd4735e3a',
      disks: '2',
      about: aboutTag(about),
    };
    const found = readTags({ url: DISK, id: 'x', tags: fromResourceTags(toResourceTags(tags)) });
    expect(found).toMatchObject({ point: tags.point, attempt: tags.attempt, disks: 2, about });
  });

  it('that a resource does not take are refused', () => {
    expect(() => toResourceTags({ Job: '1' })).toThrow(TypeError);
    expect(() => toResourceTags({ job: 'ü' })).toThrow(TypeError);
    expect(() => toResourceTags({ job: ' 1' })).toThrow(TypeError);
    expect(() => toResourceTags({ about: 'x'.repeat(51 * 256) })).toThrow(/51 tags/);
  });
});
