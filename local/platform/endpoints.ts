import { z } from 'zod';
import { PlatformError } from './errors.ts';
import { readFileIfAny } from './files.ts';

const endpoints = z.object({
  http: z.url(),
  https: z.url(),
  caFile: z.string(),
  subscriptionId: z.string(),
  tenantId: z.string(),
  functionKey: z.string(),
  storage: z.array(
    z.object({
      account: z.string(),
      kind: z.enum(['standard', 'premium']),
      blob: z.url(),
      queue: z.url(),
      table: z.url(),
      key: z.string(),
    }),
  ),
});

/** What `endpoints.json` says: where everything is, for tools and tests. */
export type Endpoints = z.output<typeof endpoints>;

/** @throws PlatformError when no platform runs on the folder, or the file is not what a platform writes */
export function readEndpoints(path: string): Endpoints {
  const text = readFileIfAny(path);
  if (text === undefined) throw new PlatformError(`no platform is running: ${path} is missing (npm start makes it)`);
  return parseJoined(path, text, endpoints);
}

/** What a running platform has left in `path` for others. @throws PlatformError when it is something else */
export function parseJoined<Schema extends z.ZodType>(path: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new PlatformError(`${path} is damaged: stop the platform and start it again, it writes the file anew`, {
      cause,
    });
  }
}
