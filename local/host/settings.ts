import { z } from 'zod';
import { readFileIfAny } from '../platform/files.ts';

const TIME_SPAN = /^(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?$/;

/** A .NET TimeSpan such as `00:30:00` or `1.12:00:00` in milliseconds; undefined when the text is not one. */
export function timeSpanMs(text: string): number | undefined {
  const match = TIME_SPAN.exec(text);
  if (match === null) return undefined;
  const [days, hours, minutes, seconds] = match.slice(1, 5).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  if (hours > 23 || minutes > 59 || seconds > 59) return undefined;
  const fraction = Number(`0.${match[5] ?? '0'}`);
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds + fraction) * 1000;
}

const timeSpanOr = (other: Readonly<Record<string, number>>) =>
  z.string().transform((text, context) => {
    const milliseconds = other[text] ?? timeSpanMs(text);
    if (milliseconds === undefined) context.addIssue(`"${text}" is not a time span like 00:00:10`);
    return milliseconds ?? 0;
  });
const timeSpan = timeSpanOr({});
const timeSpanOrNever = timeSpanOr({ '-1': Infinity });

const defaulted = <S extends z.ZodType>(schema: S) => schema.prefault({} as z.input<S>);

/** The defaults and bounds are the documented ones of host.json 2.0 and its http and queues extensions. */
const hostJson = z.object({
  version: z.literal('2.0', 'host.json must say "version": "2.0"'),
  functionTimeout: timeSpanOrNever.default(30 * 60_000),
  logging: defaulted(z.object({ logLevel: z.record(z.string(), z.string()).default({}) })),
  extensions: defaulted(
    z.object({
      http: defaulted(z.object({ routePrefix: z.string().default('api') })),
      queues: defaulted(
        z.object({
          maxPollingInterval: timeSpan.default(60_000).refine((ms) => ms >= 100, 'must be at least 00:00:00.100'),
          visibilityTimeout: timeSpan.default(0),
          batchSize: z.coerce.number().int().min(1).max(32).default(16),
          newBatchThreshold: z.coerce.number().int().min(0).optional(),
          maxDequeueCount: z.coerce.number().int().min(1).default(5),
          messageEncoding: z.enum(['base64', 'none']).default('base64'),
        }),
      ),
    }),
  ),
});

export type QueueSettings = z.output<typeof hostJson>['extensions']['queues'] & { newBatchThreshold: number };

export interface HostSettings {
  /** Infinity when host.json says "-1". */
  readonly functionTimeoutMs: number;
  readonly logLevel: Readonly<Record<string, string>>;
  /** Without slashes at its ends; empty for none. */
  readonly routePrefix: string;
  readonly queues: QueueSettings;
}

/**
 * Reads host.json, with environment variables like `AzureFunctionsJobHost__extensions__queues__batchSize` overriding values as in
 * the Functions host.
 * @throws Error naming the file, the setting and what is wrong with it
 */
export function readHostSettings(path: string, env: NodeJS.ProcessEnv): HostSettings {
  const text = readFileIfAny(path);
  if (text === undefined) throw new Error(`${path} is missing: a function app needs a host.json`);
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const parsed = hostJson.safeParse(withOverrides(raw, env));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`${path}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { queues, http } = parsed.data.extensions;
  return {
    functionTimeoutMs: parsed.data.functionTimeout,
    logLevel: parsed.data.logging.logLevel,
    routePrefix: http.routePrefix.replace(/^\/+|\/+$/g, ''),
    queues: { ...queues, newBatchThreshold: queues.newBatchThreshold ?? Math.floor(queues.batchSize / 2) },
  };
}

function withOverrides(raw: unknown, env: NodeJS.ProcessEnv): unknown {
  const root = structuredClone(raw) as Record<string, unknown>;
  for (const [name, value] of Object.entries(env)) {
    const [prefix, ...path] = name.split('__');
    if (prefix !== 'AzureFunctionsJobHost' || path.length === 0) continue;
    const last = path.pop() as string;
    let node = root;
    for (const key of path) node = (node[key] ??= {}) as Record<string, unknown>;
    node[last] = value;
  }
  return root;
}
