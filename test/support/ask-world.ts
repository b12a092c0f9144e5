import type { Role } from '../../shared/arm/callers.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { bodyOf } from './body-of.ts';
import { SUBSCRIPTION } from './life.ts';
import type { World } from './world.ts';

export const SUBSCRIPTION_PATH = `/subscriptions/${SUBSCRIPTION}`;
export const GROUP_PATH = `${SUBSCRIPTION_PATH}/resourceGroups/bk`;
/** The vault of a world. */
export const VAULT_PATH = `${GROUP_PATH}/providers/Microsoft.RecoveryServices/vaults/v1`;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}

/** Calls the API over the ports of a world, with the rights of `role`; a path may have a query of its own. */
export async function askWorld(
  { ports }: Pick<World, 'ports'>,
  method: string,
  path: string,
  body?: unknown,
  role: Role = 'Backup Contributor',
): Promise<Answer> {
  const tokens = { issuer: '', audiences: [], jwksUrl: '' };
  const config = { subscriptionId: SUBSCRIPTION, tokens, publicUrl: undefined };
  const serve = armApi({ config, ports }, async () => ({ name: 'me', roles: [role] }));
  const version = path.includes('api-version=') ? '' : `${path.includes('?') ? '&' : '?'}api-version=2023-06-01`;
  const answer = await serve({
    method,
    url: `http://strata${path}${version}`,
    headers: new Headers(),
    body: bodyOf(body === undefined ? '' : JSON.stringify(body)),
  });
  return { status: answer.status, headers: answer.headers ?? {}, body: answer.body };
}
