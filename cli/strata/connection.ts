import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { z } from 'zod';
import { jsonOf, parsed } from './answer.ts';
import { UnreachableError, UsageError } from './errors.ts';
import type { Values } from './options.ts';

/** Where the service is and how its caller proves who it is. */
export interface Connection {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** The subscription of a local platform; undefined elsewhere. */
  readonly subscriptionId: string | undefined;
  /** A bearer token that holds now. @throws UnreachableError */
  token(): Promise<string>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const endpointsFile = z.object({ https: z.url(), caFile: z.string(), subscriptionId: z.string() });
const tokenAnswer = z.object({ access_token: z.string() });

/**
 * The service that the options mean: the one at `--endpoint`, else the local platform whose data folder is given. Of a local
 * platform the certificate is trusted and a contributor's token is fetched; elsewhere the token is given, or comes from the login
 * that the Azure tools of this machine have.
 * @throws UsageError, UnreachableError
 */
export function connect(values: Values, env: Environment): Connection {
  const endpoint = values.text('endpoint') ?? env['STRATA_ENDPOINT'];
  const given = tokenGiven(values, env);
  if (endpoint === undefined || endpoint === '') return toLocalPlatform(values, env, given);
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new UsageError(`--endpoint must be an http or https address; it is "${endpoint}"`);
  const scope = values.text('scope') ?? env['STRATA_SCOPE'];
  if (given === undefined && scope === undefined)
    throw new UsageError('--endpoint needs --token, or --scope to get one from your Azure login');
  return {
    endpoint: endpoint.replace(/\/+$/, ''),
    subscriptionId: undefined,
    token: given === undefined ? () => fromLogin(scope!) : async () => given,
  };
}

/** The token that the caller has, if any. It must be one that a header takes. @throws UsageError, which does not show it */
function tokenGiven(values: Values, env: Environment): string | undefined {
  const given = values.text('token') ?? (env['STRATA_TOKEN'] || undefined);
  if (given === undefined || /^[\x21-\x7e]+$/.test(given)) return given;
  throw new UsageError('--token (or STRATA_TOKEN) must have visible ASCII characters only, as every bearer token has');
}

function toLocalPlatform(values: Values, env: Environment, given: string | undefined): Connection {
  const path = join(values.text('data') ?? env['STRATA_DATA'] ?? '.strata', 'endpoints.json');
  let found: z.infer<typeof endpointsFile>;
  try {
    found = endpointsFile.parse(JSON.parse(readFileSync(path, 'utf8')));
    tls.setDefaultCACertificates([...tls.getCACertificates('default'), readFileSync(found.caFile, 'utf8')]);
  } catch (cause) {
    throw new UnreachableError(
      `no local platform runs on ${path}: start it (npm start), name its folder (--data), or give --endpoint`,
      { cause },
    );
  }
  const { https, subscriptionId } = found;
  const fetched = async (): Promise<string> => {
    const answer = await fetch(new URL('/local/token', https), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ roles: ['Backup Contributor'] }),
    }).catch((cause: unknown) => {
      throw new UnreachableError(`the local platform at ${https} does not answer`, { cause });
    });
    if (!answer.ok) throw new UnreachableError(`the local platform gives no token: it answered ${answer.status}`);
    return parsed(tokenAnswer, await jsonOf(answer)).access_token;
  };
  return { endpoint: https, subscriptionId, token: given === undefined ? fetched : async () => given };
}

async function fromLogin(scope: string): Promise<string> {
  const { DefaultAzureCredential } = await import('@azure/identity');
  try {
    return (await new DefaultAzureCredential().getToken(scope)).token;
  } catch (cause) {
    const [reason = ''] = (cause as Error).message.split('\n');
    throw new UnreachableError(`no token for ${scope} from your Azure login: ${reason}`, { cause });
  }
}
