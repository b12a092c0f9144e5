import { z } from 'zod';
import { parsed } from './answer.ts';
import type { ArmClient } from './arm-client.ts';
import type { CommandContext } from './command.ts';
import { RefusedError } from './errors.ts';

/** A job of Strata's own as `V/strata/jobs/{job}` shows it. */
const strataJob = z.object({
  name: z.string(),
  properties: z.object({
    operation: z.string(),
    status: z.string(),
    startTime: z.string(),
    endTime: z.string().optional(),
    /** How far it has come, in its own words. */
    progress: z.record(z.string(), z.string()),
    errors: z.array(z.object({ code: z.string(), message: z.string() })),
    /** What it did, one entry for each thing that it looked at. */
    report: z.array(
      z.object({
        subject: z.string(),
        outcome: z.string(),
        text: z.string(),
        details: z.record(z.string(), z.unknown()),
      }),
    ),
  }),
});
export type StrataJob = z.infer<typeof strataJob>['properties'];

/**
 * Starts a job by POST and follows it to its end, then shows the job: whole with `--json`, else its state and `lines`.
 * @throws RefusedError when it has not wholly succeeded, after its report has been shown
 */
export async function followJob(
  arm: ArmClient,
  path: string,
  body: object,
  say: CommandContext['say'],
  show: CommandContext['show'],
  lines: (job: StrataJob) => readonly string[],
): Promise<void> {
  let last = '';
  const { result, failure } = await arm.run(path, body, ({ status, properties = {} }) => {
    const { jobId, progress = {} } = properties as { jobId?: string; progress?: Record<string, string> };
    const told = Object.entries(progress).map(([name, value]) => `${name} ${value}`);
    const line = [`job ${jobId ?? ''}: ${status}`, ...told].join(', ');
    if (line !== last) say(line);
    last = line;
  });
  const job = result === undefined ? undefined : parsed(strataJob, result).properties;
  if (job !== undefined) {
    const errors = job.errors.map(({ code, message }) => `error: ${code}: ${message}`);
    show(result, [...lines(job), ...errors, `${job.operation}: ${job.status}`]);
  }
  if (failure !== undefined) throw new RefusedError(failure);
  if (job !== undefined && job.status !== 'Completed') throw new RefusedError(`the job is ${job.status}`);
}
