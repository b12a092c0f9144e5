import { Duration } from 'luxon';
import type { JobChurn, JobIndexRow, JobRow, JobTask } from '../catalog/catalog.ts';
import type { VaultAddress } from '../services/keys.ts';
import { jobResourceId, VAULT_TYPE } from './ids.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import { shortContainerName } from './names.ts';
import type { JOB_STATUSES } from './schemas/job.ts';
import { iso } from './times.ts';

/** "No time yet" in jobs and tasks, in the service's words. */
const NO_TIME = '0001-01-01T00:00:00';
const MIB = 1_048_576;

/** The service's numbers for what happens to jobs; clients read a number, people the title beside it. */
const ERROR_NUMBERS: Readonly<Record<string, number>> = {
  UserErrorJobSuccessfullyCancelled: 400_158,
  VMNotFoundV2: 400_094,
};

/** A job's status as clients know it: Ending is Strata's own and still runs. */
export function statusOf(row: Pick<JobRow, 'status'>): (typeof JOB_STATUSES)[number] {
  return row.status === 'Ending' ? 'InProgress' : row.status;
}

/** The ARM view of a job at `nowMs`. */
export function jobView(vault: VaultAddress, row: JobRow, nowMs: number): Record<string, unknown> {
  const { properties, ...listed } = listedJobView(vault, row, nowMs);
  return { ...listed, properties: { ...properties, extendedInfo: extendedInfo(row, nowMs) } };
}

/** As lists show it: they leave out what only a single job tells. */
export function listedJobView(
  vault: VaultAddress,
  row: JobIndexRow,
  nowMs: number,
): Record<string, unknown> & { properties: Record<string, unknown> } {
  return {
    id: jobResourceId(vault, row.jobId),
    name: row.jobId,
    type: `${VAULT_TYPE}/backupJobs`,
    properties: {
      jobType: 'AzureIaaSVMJob',
      operation: row.operation,
      status: statusOf(row),
      entityFriendlyName: row.vmName,
      containerName: shortContainerName(row),
      backupManagementType: VM_MANAGEMENT,
      virtualMachineVersion: 'Compute',
      startTime: iso(row.startedAt),
      ...(row.endedAt === undefined ? {} : { endTime: iso(row.endedAt) }),
      duration: isoDuration((row.endedAt ?? nowMs) - row.startedAt),
      activityId: row.activityId ?? row.jobId,
      isUserTriggered: row.userTriggered,
      actionsInfo: isCancellable(row) ? ['Cancellable'] : [],
      errorDetails: row.errors.map(({ code, message, recommendations }) => ({
        errorCode: ERROR_NUMBERS[code] ?? 0,
        errorTitle: code,
        errorString: message,
        recommendations,
      })),
    },
  };
}

const isCancellable = ({ status, operation }: Pick<JobRow, 'status' | 'operation'>): boolean =>
  status === 'InProgress' && (operation === 'Backup' || operation === 'Restore');

function extendedInfo(row: JobRow, nowMs: number): Record<string, unknown> {
  const progress = progressOf(row);
  const remaining = remainingMs(row, nowMs);
  const [error] = row.errors;
  return {
    tasksList: row.tasks.map((task) => taskView(task, progress, nowMs)),
    propertyBag: propertyBag(row),
    internalPropertyBag: row.operation === 'Backup' ? { IsInstantRpJob: 'True' } : {},
    ...(row.churn === undefined ? {} : { churn: row.churn }),
    ...(progress === undefined ? {} : { progressPercentage: progress }),
    ...(remaining === undefined ? {} : { estimatedRemainingDuration: isoDuration(remaining) }),
    ...(error === undefined ? {} : { dynamicErrorMessage: error.message }),
  };
}

/** Of what a job transfers, in whole percent; undefined while that is not known. */
function progressOf({ status, doneBytes, totalBytes }: JobRow): number | undefined {
  if (status === 'Completed') return 100;
  return totalBytes === 0 ? undefined : Math.min(100, Math.floor((doneBytes / totalBytes) * 100));
}

/** The tasks that move bytes: the job's progress is theirs. */
const isTransfer = ({ taskId }: JobTask): boolean => taskId.startsWith('Transfer');

/** At the pace so far; undefined when there is none yet. */
function remainingMs({ status, tasks, doneBytes, totalBytes }: JobRow, nowMs: number): number | undefined {
  const since = tasks.find(isTransfer)?.startedAt;
  if (status !== 'InProgress' || since === undefined || doneBytes === 0 || totalBytes === 0) return undefined;
  return Math.max(0, ((nowMs - since) * (totalBytes - doneBytes)) / doneBytes);
}

function taskView(task: JobTask, progress: number | undefined, nowMs: number): Record<string, unknown> {
  const { taskId, status, startedAt, endedAt } = task;
  const percentage = status === 'Completed' ? 100 : isTransfer(task) && status !== 'NotStarted' ? progress : undefined;
  return {
    taskId,
    status,
    startTime: startedAt === undefined ? NO_TIME : iso(startedAt),
    endTime: endedAt === undefined ? NO_TIME : iso(endedAt),
    duration: isoDuration(startedAt === undefined ? 0 : (endedAt ?? nowMs) - startedAt),
    instanceId: '',
    ...(percentage === undefined ? {} : { progressPercentage: percentage }),
  };
}

/** What a job shows under the service's names, and beside it which source of changed blocks each disk had, and why. */
function propertyBag(row: JobRow): Record<string, string> {
  const known = row.totalBytes > 0 || row.status === 'Completed';
  const transfers = row.operation === 'Backup' || row.operation === 'Restore';
  const bag: Record<string, string> = { 'VM Name': row.vmName };
  if (row.operation === 'Backup') {
    if (known) bag['Backup Size'] = `${Math.ceil(row.totalBytes / MIB)} MB`;
    if (row.retainUntil !== undefined) bag['Recovery Point Expiry Time in UTC'] = dotNetTime(row.retainUntil);
  }
  if (transfers && known) {
    bag['Bytes Transferred'] = `${row.doneBytes}`;
    bag['Bytes To Transfer'] = `${row.totalBytes}`;
  }
  if (transfers && row.point !== undefined) bag['Recovery Point'] = row.point;
  const label = row.operation === 'Restore' ? 'Restored From' : 'Changed Block Source';
  for (const { lun, source, reason } of row.sources) {
    bag[`${label} (${diskLabel(lun)})`] = reason === '' ? source : `${source}: ${reason}`;
  }
  for (const churn of row.churn ?? []) bag[`Churn (${diskLabel(churn.lun)})`] = churnText(churn);
  return { ...bag, ...row.bag };
}

const diskLabel = (lun: number): string => (lun === -1 ? 'OS disk' : `LUN ${lun}`);

const BOUND_TEXTS: Readonly<Record<JobChurn['boundBy'], string>> = {
  sourceRequests: 'the requests of the source disk',
  sourceBytes: 'the bytes of the source disk',
  vault: 'the vault',
  processor: 'the processor',
  nothing: 'nothing',
};

/** What a backup has met on one disk, in one line; `extendedInfo.churn` has the numbers. */
function churnText(churn: JobChurn): string {
  const kib = (bytes: number): string => `${Math.ceil(bytes / 1024)} KiB`;
  const { extents, requests, savedRequests } = churn;
  return [
    `${kib(churn.changedBytes)} changed in ${extents} ranges, ${kib(churn.equalBytes)} of it as before`,
    `${kib(churn.readBytes)} read by ${requests} requests, ${savedRequests} saved by reading across gaps`,
    `${kib(churn.auditedBytes)} audited, ${kib(churn.missedBytes)} of it missed by the source`,
    `bound by ${BOUND_TEXTS[churn.boundBy]}`,
  ].join('; ');
}

/** As the service writes times in property bags: `6/12/2022 12:00:00 AM`, in UTC. */
export function dotNetTime(ms: number): string {
  const time = new Date(ms);
  const two = (value: number): string => `${value}`.padStart(2, '0');
  const hour = time.getUTCHours();
  const clock = `${hour % 12 === 0 ? 12 : hour % 12}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())}`;
  return `${time.getUTCMonth() + 1}/${time.getUTCDate()}/${time.getUTCFullYear()} ${clock} ${hour < 12 ? 'AM' : 'PM'}`;
}

/** ISO 8601: clients refuse any other form. */
export function isoDuration(ms: number): string {
  const whole = Math.max(0, Math.round(ms / 100)) * 100;
  return whole === 0 ? 'PT0S' : Duration.fromMillis(whole).shiftTo('hours', 'minutes', 'seconds').toISO();
}
