import type { Role } from '../../shared/arm/callers.ts';
import { toHttp } from '../../shared/arm/http.ts';
import { findRoute, type Route, segmentsOf } from '../../shared/arm/route.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { armApi } from '../../shared/arm/serve.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { answerChecker } from './answer-checker.ts';
import { bodyOf } from './body-of.ts';
import { SUBSCRIPTION } from './life.ts';
import { createWorld } from './world.ts';

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As it is sent. */
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}

export interface Asking {
  readonly body?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly roles?: readonly Role[];
}

/** A call of the API in this process: the path comes with its query. */
export type Ask = (method: string, path: string, asking?: Asking) => Promise<Reply>;

/** The real API over these ports, with somebody else's tokens. Whatever it answers is held against its own description. */
export function checkedArm(ports: Ports, routes: readonly Route[] = ROUTES): Ask {
  const config = {
    subscriptionId: SUBSCRIPTION,
    tokens: { issuer: '', audiences: [], jwksUrl: '' },
    publicUrl: undefined,
  };
  const check = answerChecker(routes);
  return async (method, path, asking = {}) => {
    const { body = '', headers = {} } = asking;
    const roles: readonly Role[] = asking.roles ?? ['Backup Contributor'];
    const serve = armApi({ config, ports }, async () => ({ name: 'me', roles }), routes);
    const url = `https://strata.example${path}`;
    const sent = toHttp(await serve({ method, url, headers: new Headers(headers), body: bodyOf(body) }));
    const text = sent.body ?? '';
    const reply = {
      status: sent.status,
      headers: sent.headers,
      text,
      body: text === '' ? undefined : JSON.parse(text),
    };
    const problem = check(method, new URL(url).pathname, { ...reply, headers: new Headers(sent.headers) });
    if (problem !== undefined)
      throw new Error(`${method} ${path} answers ${sent.status} ${text.slice(0, 400)}: ${problem}`);
    return reply;
  };
}

/** A vault with a protected VM, its points and jobs of each kind, over ports in memory. */
export interface ArmGround {
  readonly ports: Ports;
  readonly ask: Ask;
  /** For each name in a path what exists; of other names nothing does. */
  readonly names: Readonly<Record<string, string>>;
  /** The path of a template with names that exist, or `none`. */
  pathOf(template: string): string;
  /** The template of the route that a request goes to. */
  templateOf(request: { readonly method: string; readonly path: string }): string | undefined;
  /** The lines of the log. */
  readonly logged: readonly string[];
  /** What handlers of messages have failed with. */
  readonly failures: readonly unknown[];
  /** Handles what the API has put on queues, and all that follows from it. */
  drain(): Promise<void>;
}

export const API_VERSION = 'api-version=2023-06-01';
const CONTAINER = 'IaasVMContainer;iaasvmcontainerv2;app;vm';

export async function createArmGround(routes: readonly Route[] = ROUTES): Promise<ArmGround> {
  const logged: string[] = [];
  const failures: unknown[] = [];
  const world = await createWorld({
    wrap: (inner) => ({ ...inner, log: (line) => void logged.push(line) }),
    onFailure: (error) => void failures.push(error),
  });
  const { ports } = world;
  await world.createVm('vm', [65_536 * 4, 65_536]);
  await world.protect('vm');
  await world.backup('vm');
  const job = await world.backup('vm');
  const ask = checkedArm(ports, routes);
  const [point] = (await world.points('vm')).toReversed();
  if (point === undefined) throw new Error('the backups have left no point');
  const names: Record<string, string> = {
    subscription: SUBSCRIPTION,
    group: 'bk',
    vault: 'v1',
    location: 'westeurope',
    policy: 'nightly',
    container: CONTAINER,
    item: 'VM;iaasvmcontainerv2;app;vm',
    point: point.point,
    job: job.jobId,
  };
  const pathOf = (template: string): string =>
    template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? 'none'));
  const V = pathOf(
    '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}',
  );
  const started = await ask('POST', `${V}/strata/cleanUp?${API_VERSION}`);
  names['run'] = started.body.name;
  const backup = `${V}/backupFabrics/Azure/protectionContainers/${CONTAINER}/protectedItems/${names['item']}/backup`;
  const sent = await ask('POST', `${backup}?${API_VERSION}`, {
    body: '{"properties":{"objectType":"IaasVMBackupRequest"}}',
  });
  names['operation'] = /operationsStatus\/([^?]+)/.exec(sent.headers['Azure-AsyncOperation'] ?? '')?.[1] ?? 'none';
  await world.drain();
  const templateOf = ({ method, path }: { method: string; path: string }): string | undefined => {
    const found = findRoute(routes, method, segmentsOf(new URL(`https://strata.example${path}`).pathname) ?? []);
    return found !== undefined && 'route' in found ? found.route.template : undefined;
  };
  return { ports, ask, names, pathOf, templateOf, logged, failures, drain: () => world.drain() };
}
