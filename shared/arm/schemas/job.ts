import { z } from 'zod';
import { among, anyText, filterOf, filterTime } from '../filter.ts';
import { MANAGEMENT_TYPES } from '../kinds.ts';
import { paged } from '../paging.ts';

export const JOB_STATUSES = [
  'InProgress',
  'Completed',
  'Failed',
  'CompletedWithWarnings',
  'Cancelled',
  'Cancelling',
] as const;
export const JOB_OPERATIONS = [
  'Register',
  'UnRegister',
  'ConfigureBackup',
  'Backup',
  'Restore',
  'DisableBackup',
  'DeleteBackupData',
  'CrossRegionRestore',
  'Undelete',
  'UpdateCustomerManagedKey',
] as const;

export const jobsQuery = z.object({
  ...paged,
  $filter: filterOf(
    {
      status: among(JOB_STATUSES),
      operation: among(JOB_OPERATIONS),
      backupManagementType: among(MANAGEMENT_TYPES),
      jobId: anyText,
      startTime: filterTime,
      endTime: filterTime,
    },
    ({ startTime = -Infinity, endTime = Infinity }) => (startTime > endTime ? 'startTime is after endTime' : undefined),
  ),
});
export type JobsQuery = z.infer<typeof jobsQuery>;
export type JobsFilter = JobsQuery['$filter'];
