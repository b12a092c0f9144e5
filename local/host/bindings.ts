import { z } from 'zod';
import type { RegisteredFunction } from './core-module.ts';
import { parseSchedule, type Schedule } from './ncrontab.ts';
import { parseRoute, type Route } from './routes.ts';
import type { RpcBinding } from './rpc.ts';

/** A function's bindings cannot be served; the message names the function, the setting and what would be right. */
export class BindingError extends Error {
  override readonly name = 'BindingError';
}

export type AuthLevel = 'anonymous' | 'function' | 'admin';

interface TriggerBase {
  readonly fn: RegisteredFunction;
  readonly functionName: string;
  /** The trigger binding's name: the input is handed over under it. */
  readonly bindingName: string;
  readonly queueOutputs: readonly QueueOutput[];
}
export interface HttpFunction extends TriggerBase {
  readonly kind: 'http';
  readonly route: Route;
  readonly methods: ReadonlySet<string>;
  readonly authLevel: AuthLevel;
}
export interface QueueFunction extends TriggerBase {
  readonly kind: 'queue';
  readonly queueName: string;
  readonly connectionString: string;
}
export interface TimerFunction extends TriggerBase {
  readonly kind: 'timer';
  readonly expression: string;
  readonly schedule: Schedule;
  readonly runOnStartup: boolean;
  readonly useMonitor: boolean;
}
export type IndexedFunction = HttpFunction | QueueFunction | TimerFunction;

/** Where a returned or extra output goes; `name` is `$return` for the returned value. */
export interface QueueOutput {
  readonly name: string;
  readonly queueName: string;
  readonly connectionString: string;
}

const METHODS = ['GET', 'POST', 'DELETE', 'HEAD', 'PATCH', 'PUT', 'OPTIONS', 'TRACE', 'CONNECT'];
const httpTrigger = z.object({
  authLevel: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['anonymous', 'function', 'admin']))
    .default('function'),
  methods: z
    .array(
      z
        .string()
        .toUpperCase()
        .pipe(z.enum(METHODS as [string, ...string[]])),
    )
    .optional(),
  route: z.string().optional(),
});
const queue = z.object({
  queueName: z.string().min(1),
  connection: z.string().min(1).default('AzureWebJobsStorage'),
});
const timerTrigger = z.object({
  schedule: z.string().min(1),
  runOnStartup: z.boolean().default(false),
  useMonitor: z.boolean().default(true),
});
/** Queue names: 3 to 63 of a-z, 0-9 and single inner hyphens (Azure Storage, "Naming Queues and Metadata"). */
const QUEUE_NAME = /^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/;

/**
 * Turns a registered function into what a trigger needs: `%SETTING%` replaced from `env`, the connection string looked up, the
 * schedule and route parsed.
 * @throws BindingError
 */
export function indexFunction(fn: RegisteredFunction, routePrefix: string, env: NodeJS.ProcessEnv): IndexedFunction {
  const functionName = fn.metadata.name;
  const fail = (what: string): never => {
    throw new BindingError(`The '${functionName}' function is in error: ${what}`);
  };
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,126}$/.test(functionName))
    fail('its name must be letters, digits, - and _, and start with a letter');
  const resolve = (text: string): string =>
    text.replace(/%([^%]+)%/g, (_, setting: string) => env[setting] ?? fail(`the app setting %${setting}% is not set`));
  const read = <S extends z.ZodType>(schema: S, binding: RpcBinding): z.output<S> => {
    const parsed = schema.safeParse(binding);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    return fail(`${String(binding.type)}: ${issue?.path.join('.')}: ${issue?.message}`);
  };
  const queueOf = (binding: RpcBinding): { queueName: string; connectionString: string } => {
    const { queueName: template, connection } = read(queue, binding);
    const queueName = resolve(template);
    if (!QUEUE_NAME.test(queueName)) fail(`"${queueName}" is not a queue name: 3 to 63 of a-z, 0-9 and single hyphens`);
    const connectionString = env[connection] || env[`AzureWebJobs${connection}`];
    return {
      queueName,
      connectionString: connectionString || fail(`the app setting ${connection} with its connection string is not set`),
    };
  };

  const entries = Object.entries(fn.metadata.bindings);
  const triggers = entries.filter(([, { type }]) => /trigger$/i.test(type ?? ''));
  const [trigger] = triggers;
  if (trigger === undefined || triggers.length > 1)
    return fail(`it has ${triggers.length} triggers; a function has one`);
  const [bindingName, binding] = trigger;
  const queueOutputs: QueueOutput[] = [];
  for (const [name, other] of entries) {
    if (name === bindingName) continue;
    const type = other.type?.toLowerCase();
    if (other.direction === 'out' && type === 'queue') queueOutputs.push({ name, ...queueOf(other) });
    else if (other.direction !== 'out' || type !== 'http')
      fail(
        `the local host has no ${other.direction ?? 'in'} binding of type "${other.type}": it has http and queue outputs`,
      );
  }
  const base = { fn, functionName, bindingName, queueOutputs };

  switch (String(binding.type).toLowerCase()) {
    case 'httptrigger': {
      const { authLevel, methods, route: template = functionName } = read(httpTrigger, binding);
      const path = [routePrefix, template.replace(/^\/+/, '')].filter((part) => part !== '').join('/');
      const set = new Set(methods === undefined || methods.length === 0 ? METHODS : methods);
      return { ...base, kind: 'http', route: attempt(() => parseRoute(path), fail), methods: set, authLevel };
    }
    case 'queuetrigger':
      return { ...base, kind: 'queue', ...queueOf(binding) };
    case 'timertrigger': {
      const { schedule: template, runOnStartup, useMonitor } = read(timerTrigger, binding);
      const expression = resolve(template);
      const schedule = attempt(() => parseSchedule(expression, env['WEBSITE_TIME_ZONE'] || 'UTC'), fail);
      return {
        ...base,
        kind: 'timer',
        expression,
        schedule,
        runOnStartup,
        useMonitor: useMonitor && schedule.isMonitorable,
      };
    }
    default:
      return fail(
        `the local host has no trigger of type "${binding.type}": it has httpTrigger, queueTrigger and timerTrigger`,
      );
  }
}

function attempt<T>(parse: () => T, fail: (what: string) => never): T {
  try {
    return parse();
  } catch (error) {
    return fail((error as Error).message);
  }
}
