import { describe, expect, it } from 'vitest';
import { dotNetTime, isoDuration, jobView, listedJobView } from '../../shared/arm/job-view.ts';
import { parseAs } from '../../shared/arm/schemas/common.ts';
import { jobsQuery } from '../../shared/arm/schemas/job.ts';
import { pointView, tierOf } from '../../shared/arm/point-view.ts';
import { isVisible } from '../../shared/services/point-list.ts';
import { type JobRow, jobRow, type PointRow, pointRow } from '../../shared/catalog/catalog.ts';

const AT = Date.parse('2026-11-22T01:30:00Z');
const DAY = 86_400_000;
const vault = { subscriptionId: 's', resourceGroup: 'g', vault: 'v1' };
const names = { resourceGroup: 'App', vmName: 'Web1' };
const policy = { minuteOfDay: 90, zone: 'UTC', dailyRetentionDays: 14, instantRetentionDays: 2 };

function point(change: Partial<Record<keyof PointRow, unknown>> = {}): PointRow {
  return pointRow.parse({
    point: '17000000000000000',
    itemId: 'web1-0123abcd',
    jobId: 'j',
    time: AT,
    trigger: 'scheduled',
    dueAt: AT,
    set: {
      attempt: 'a',
      takenAt: AT,
      disks: [
        { disk: 'd1', lun: -1, name: 'os', url: 'u', createdAt: 'c', sizeBytes: 1024, snapshot: 'x' },
        { disk: 'd2', lun: 3, name: 'data', url: 'u', createdAt: 'c', sizeBytes: 512, snapshot: 'x' },
      ],
      lacking: [{ lun: 4, name: 'other' }],
      vm: {
        id: 'i',
        vmId: 'v',
        name: 'Web1',
        resourceGroup: 'App',
        location: 'l',
        size: 'Standard_A1',
        osType: 'Linux',
      },
    },
    instant: 'Valid',
    vault: 'Valid',
    sizeBytes: 1536,
    dataBlocks: 3,
    clearedBlocks: 1,
    storedBytes: 999,
    seq: 1,
    ...change,
  });
}

interface View {
  name: string;
  properties: Record<string, never> & {
    recoveryPointProperties: object;
    strata: object;
    recoveryPointTierDetails: object[];
  };
}
const view = (row: PointRow, form: 'listed' | 'single' = 'single', rules: typeof policy | undefined = policy) =>
  pointView(row, { vault, names, policy: rules, kind: 'full', findings: [] }, form) as unknown as View;

describe('a recovery point', () => {
  it.each([
    ['Valid', 'None', 'Snapshot', ['InstantRP Valid']],
    ['Valid', 'Valid', 'Snapshot and vault', ['InstantRP Valid', 'HardenedRP Valid']],
    ['Deleted', 'Valid', 'Vault', ['InstantRP Deleted', 'HardenedRP Valid']],
    ['Lost', 'Valid', 'Vault', ['InstantRP Deleted', 'HardenedRP Valid']],
  ])('with its snapshots %s and the vault %s is %s', (instant, inVault, label, tiers) => {
    const row = point({ instant, vault: inVault });
    expect(isVisible(row)).toBe(true);
    expect(tierOf(row)).toBe(label);
    const { recoveryPointTierDetails } = view(row).properties;
    expect(recoveryPointTierDetails.map((tier) => Object.values(tier).join(' '))).toEqual(tiers);
  });

  it.each([
    [[undefined, undefined], false, 'NormalStorage'],
    [[undefined, 'Standard_LRS'], true, 'NormalStorage'],
    [[undefined, 'Premium_LRS'], true, 'PremiumVMOnPartialPremiumStorage'],
    [['UltraSSD_LRS', 'Premium_ZRS'], true, 'PremiumStorage'],
  ])('says whether its disks are managed, and on what storage: %s', (skus, isManaged, storage) => {
    const { set } = point();
    const disks = set.disks.map((disk, i) => {
      const sku = skus[i];
      return sku === undefined ? disk : { ...disk, url: `/subscriptions/s/disks/${i}`, managed: { sku } };
    });
    expect(view(point({ set: { ...set, disks } })).properties).toMatchObject({
      isManagedVirtualMachine: isManaged,
      sourceVMStorageType: storage,
    });
  });

  it.each(['Lost', 'Deleted'])('that is in neither tier (%s) is not shown', (instant) => {
    expect(isVisible(point({ instant, vault: 'None' }))).toBe(false);
  });

  it('tells when it ends and by which rule', () => {
    const expiry = (row: PointRow, rules: typeof policy | undefined = policy) =>
      view(row, 'single', rules).properties.recoveryPointProperties;
    expect(expiry(point())).toEqual({
      expiryTime: new Date(AT + 14 * DAY).toISOString(),
      ruleName: 'Daily',
      isSoftDeleted: false,
    });
    const retainUntil = AT + 100 * DAY;
    expect(expiry(point({ trigger: 'onDemand', retainUntil }))).toMatchObject({
      expiryTime: new Date(retainUntil).toISOString(),
      ruleName: 'OnDemand',
    });
    const overtaken = point({ vault: 'None', note: 'overtaken' });
    expect(expiry(overtaken)).toMatchObject({ expiryTime: new Date(AT + 2 * DAY).toISOString() });
    const stopped = pointView(
      point(),
      { vault, names, policy: undefined, kind: 'full', findings: [] },
      'single',
    ) as unknown as View;
    expect(stopped.properties.recoveryPointProperties).toEqual({ isSoftDeleted: false });
  });

  it('tells its disks alone, and only their number in a list', () => {
    expect(view(point()).properties).toMatchObject({
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: 2,
        numberOfDisksAttachedToVm: 3,
        includedDiskList: [
          { lun: -1, name: 'os' },
          { lun: 3, name: 'data' },
        ],
        excludedDiskList: [{ lun: 4, name: 'other' }],
      },
    });
    expect(view(point(), 'listed').properties).toMatchObject({
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: 2,
        includedDiskList: null,
        excludedDiskList: null,
      },
    });
    expect(view(point({ note: 'why' })).properties.strata).toEqual({
      label: 'Snapshot and vault',
      kind: 'full',
      sizeBytes: 1536,
      dataBlocks: 3,
      clearedBlocks: 1,
      storedBytes: 999,
      note: 'why',
    });
  });
});

function job(change: Partial<Record<keyof JobRow, unknown>> = {}): JobRow {
  return jobRow.parse({
    jobId: '00000000-0000-4000-8000-000000000001',
    operation: 'Backup',
    status: 'InProgress',
    itemId: 'i',
    itemKey: 'app;web1',
    vmName: 'Web1',
    resourceGroup: 'App',
    userTriggered: true,
    startedAt: AT,
    updatedAt: AT,
    attempts: [],
    retainUntil: Date.parse('2041-06-12T00:00:00Z'),
    tasks: [
      { taskId: 'Take Snapshot', status: 'Completed', startedAt: AT, endedAt: AT + 41_000 },
      { taskId: 'Transfer data to vault', status: 'InProgress', startedAt: AT + 41_000 },
    ],
    doneBytes: 25 * 2 ** 20,
    totalBytes: 100 * 2 ** 20,
    sources: [{ lun: -1, name: 'os', source: 'diff', reason: 'the base has its snapshot' }],
    errors: [],
    bag: {},
    ...change,
  });
}
const shown = (row: JobRow, form: 'listed' | 'single' = 'single') =>
  (form === 'single' ? jobView : listedJobView)(vault, row, AT + 81_000) as { properties: Record<string, unknown> };

describe('a job', () => {
  it('shows how far it is, in the service’s words', () => {
    expect(shown(job()).properties).toMatchObject({
      status: 'InProgress',
      duration: 'PT1M21S',
      containerName: 'iaasvmcontainerv2;app;web1',
      actionsInfo: ['Cancellable'],
      extendedInfo: {
        progressPercentage: 25,
        estimatedRemainingDuration: 'PT2M',
        tasksList: [
          { taskId: 'Take Snapshot', status: 'Completed', duration: 'PT41S', progressPercentage: 100 },
          {
            taskId: 'Transfer data to vault',
            status: 'InProgress',
            endTime: '0001-01-01T00:00:00',
            progressPercentage: 25,
          },
        ],
        propertyBag: {
          'VM Name': 'Web1',
          'Backup Size': '100 MB',
          'Bytes Transferred': `${25 * 2 ** 20}`,
          'Recovery Point Expiry Time in UTC': '6/12/2041 12:00:00 AM',
          'Changed Block Source (OS disk)': 'diff: the base has its snapshot',
        },
        internalPropertyBag: { IsInstantRpJob: 'True' },
      },
    });
    expect(shown(job(), 'listed').properties).not.toHaveProperty('extendedInfo');
  });

  it('that is ending still runs for clients, and cannot be cancelled', () => {
    expect(shown(job({ status: 'Ending' })).properties).toMatchObject({ status: 'InProgress', actionsInfo: [] });
  });

  it('says what went wrong and what can be done', () => {
    const errors = [{ code: 'VMNotFoundV2', message: 'gone', recommendations: ['look'] }];
    expect(shown(job({ status: 'Failed', endedAt: AT + 5_500, errors })).properties).toMatchObject({
      duration: 'PT5.5S',
      errorDetails: [
        { errorCode: 400_094, errorTitle: 'VMNotFoundV2', errorString: 'gone', recommendations: ['look'] },
      ],
      extendedInfo: { dynamicErrorMessage: 'gone' },
    });
  });

  it('has a list of tasks even if it is empty', () => {
    const row = job({
      operation: 'ConfigureBackup',
      status: 'Completed',
      tasks: [],
      totalBytes: 0,
      doneBytes: 0,
      sources: [],
    });
    expect(shown(row).properties).toMatchObject({
      extendedInfo: { tasksList: [], propertyBag: { 'VM Name': 'Web1' } },
    });
  });

  it.each([
    [0, 'PT0S'],
    [-5, 'PT0S'],
    [11_300, 'PT11.3S'],
    [90_061_000, 'PT25H1M1S'],
  ])('%i ms are %s', (ms, text) => expect(isoDuration(ms)).toBe(text));

  it.each([
    ['2022-06-12T00:00:00Z', '6/12/2022 12:00:00 AM'],
    ['2026-12-01T12:05:09Z', '12/1/2026 12:05:09 PM'],
    ['2026-12-01T23:59:59Z', '12/1/2026 11:59:59 PM'],
  ])('%s is written %s', (iso, text) => expect(dotNetTime(Date.parse(iso))).toBe(text));
});

describe('the filter of jobs', () => {
  it.each([
    ["status eq 'Running'", /"Running": expected InProgress, Completed/],
    ["operation eq 'Merge'", /"Merge": expected Register/],
    ["startTime eq '2026-11-23' and endTime eq '2026-11-22'", /startTime is after endTime/],
  ])('refuses %s', (text, message) => expect(() => parseAs(jobsQuery, { $filter: text })).toThrow(message));
});

it('a backup shows what it has met on each disk, in a line and in numbers', () => {
  const churn = {
    lun: -1,
    extents: 3,
    changedBytes: 98_304,
    equalBytes: 16_384,
    readBytes: 131_072,
    requests: 5,
    savedRequests: 2,
    auditedBytes: 32_768,
    missedBytes: 16_384,
    elapsedMs: 900,
    sourceMs: 700,
    vaultMs: 100,
    boundBy: 'sourceRequests' as const,
  };
  expect(shown(job({ churn: [churn] })).properties).toMatchObject({
    extendedInfo: {
      churn: [churn],
      propertyBag: {
        'Churn (OS disk)':
          '96 KiB changed in 3 ranges, 16 KiB of it as before; 128 KiB read by 5 requests, 2 saved by reading across gaps; ' +
          '32 KiB audited, 16 KiB of it missed by the source; bound by the requests of the source disk',
      },
    },
  });
  expect(shown(job()).properties['extendedInfo']).not.toHaveProperty('churn');
});
