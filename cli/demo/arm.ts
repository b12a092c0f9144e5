import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { z } from 'zod';
import type { Endpoints } from '../../local/platform/start.ts';
import { DemoError } from './errors.ts';

const VAULT_API = '2024-04-01';
const BACKUP_API = '2023-06-01';
const COMPUTE_API = '2024-07-01';

const tokenAnswer = z.object({ access_token: z.string() });
const errorAnswer = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
const clockAnswer = z.object({ now: z.string() });

/** Calls the platform as any user does: over TLS, with a bearer token of a backup contributor. */
export class Arm {
  readonly #base: string;
  readonly #signal: AbortSignal;
  #token: string | undefined;

  constructor(endpoints: Endpoints, signal: AbortSignal) {
    this.#base = endpoints.https;
    this.#signal = signal;
    tls.setDefaultCACertificates([...tls.getCACertificates('default'), readFileSync(endpoints.caFile, 'utf8')]);
  }

  get(path: string): Promise<unknown> {
    return this.#json('GET', path);
  }

  put(path: string, body: object): Promise<unknown> {
    return this.#json('PUT', path, body);
  }

  /**
   * Starts a long-running operation; resolves the URL that tells how it goes.
   * @throws DemoError when the answer names none
   */
  async start(method: 'PUT' | 'POST', path: string, body: object): Promise<string> {
    const response = await this.#send(method, path, body);
    const url = response.headers.get('azure-asyncoperation');
    if (url === null) throw new DemoError(`${method} ${path} answered ${response.status} without Azure-AsyncOperation`);
    return url;
  }

  /** The platform's time, in milliseconds since the epoch. */
  async now(): Promise<number> {
    return Date.parse(clockAnswer.parse(await this.get('/local/clock')).now);
  }

  /** Moves the platform's clock forward; what falls due on the way has been begun when this resolves. */
  async moveClock(toMs: number): Promise<void> {
    await this.#json('POST', '/local/clock', { now: new Date(toMs).toISOString() });
  }

  /** Waits; ends at once when the demo is interrupted. */
  async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#signal });
  }

  async #json(method: string, path: string, body?: object): Promise<unknown> {
    const text = await (await this.#send(method, path, body)).text();
    return text === '' ? undefined : JSON.parse(text);
  }

  async #send(method: string, path: string, body?: object): Promise<Response> {
    const url = new URL(path, this.#base);
    for (let attempt = 0; ; attempt++) {
      this.#token ??= await this.#newToken();
      const response = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
        signal: this.#signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (response.ok) return response;
      const text = await response.text();
      // A token is over once the platform's clock has passed its time; a host that starts anew says 503.
      if (response.status === 401 && attempt === 0) this.#token = undefined;
      else if (response.status === 503 && attempt < 20) await this.pause(500);
      else throw new DemoError(`${method} ${url.pathname}: ${describe(response.status, text)}`);
    }
  }

  async #newToken(): Promise<string> {
    const response = await fetch(new URL('/local/token', this.#base), {
      method: 'POST',
      body: JSON.stringify({ roles: ['Backup Contributor'] }),
      headers: { 'content-type': 'application/json' },
      signal: this.#signal,
    });
    const text = await response.text();
    if (!response.ok) throw new DemoError(`POST /local/token: ${describe(response.status, text)}`);
    return tokenAnswer.parse(JSON.parse(text)).access_token;
  }
}

function describe(status: number, text: string): string {
  try {
    const { code, message } = errorAnswer.parse(JSON.parse(text)).error;
    return `${status} ${code}: ${message}`;
  } catch {
    return `${status} ${text.slice(0, 200)}`;
  }
}

/** The paths of the demo's resources. */
export function paths(
  subscriptionId: string,
  resourceGroup: string,
  names: { vault: string; vm: string; policy: string },
) {
  const group = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}`;
  const vmId = `${group}/providers/Microsoft.Compute/virtualMachines/${names.vm}`;
  const vaultId = `${group}/providers/Microsoft.RecoveryServices/vaults/${names.vault}`;
  const policyId = `${vaultId}/backupPolicies/${names.policy}`;
  const leaf = `iaasvmcontainerv2;${resourceGroup};${names.vm}`;
  const item = `${vaultId}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${leaf}/protectedItems/VM;${leaf}`;
  const backup = (path: string): string => `${path}?api-version=${BACKUP_API}`;
  return {
    vmId,
    policyId,
    storageAccountId: (account: string) => `${group}/providers/Microsoft.Storage/storageAccounts/${account}`,
    vm: `${vmId}?api-version=${COMPUTE_API}`,
    vault: `${vaultId}?api-version=${VAULT_API}`,
    policy: backup(policyId),
    item: backup(item),
    backupNow: backup(`${item}/backup`),
    points: backup(`${item}/recoveryPoints`),
    restore: (point: string) => backup(`${item}/recoveryPoints/${point}/restore`),
    jobs: backup(`${vaultId}/backupJobs`),
    ownJobs: backup(`${vaultId}/strata/jobs`),
    job: (id: string) => backup(`${vaultId}/backupJobs/${id}`),
  };
}

export type Paths = ReturnType<typeof paths>;
