import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Endpoints } from '../../../local/platform/start.ts';

/** What one command has printed, and how it ended. */
export interface AzResult {
  readonly code: number;
  /** What it has printed as JSON; undefined for nothing. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly json: any;
  readonly stderr: string;
}

/** The real `az`, with a configuration of its own, pointed at a local platform. */
export interface Az {
  /** Runs a command, whatever comes of it. */
  run(...args: string[]): Promise<AzResult>;
  /** Runs a command that has to succeed, and resolves what it prints. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  ok(...args: string[]): Promise<any>;
  /** The client secret that it has signed in with. */
  readonly secret: string;
  dispose(): Promise<void>;
}

const DEBIAN_SHIM = fileURLToPath(new URL('debian12', import.meta.url));
const CLOUD = 'StrataLocal';
/** Whom the local issuer gives a contributor's token: it takes any client that it does not know, with any secret. */
const CLIENT = '5f0d3c8e-1f1b-4c64-8a3e-2a6f5b1c7d90';
const SECRET = 'the-secret-of-az';

/** Registers the platform as a cloud and signs in there. Needs the command `az`: where it is missing this fails and says so. */
export async function openAz(endpoints: Endpoints): Promise<Az> {
  const config = await mkdtemp(join(tmpdir(), 'strata-az-'));
  const env = {
    ...process.env,
    AZURE_CONFIG_DIR: config,
    AZURE_CORE_COLLECT_TELEMETRY: 'no',
    AZURE_CORE_SURVEY_MESSAGE: 'no',
    AZURE_CORE_OUTPUT: 'json',
    AZURE_CORE_NO_COLOR: 'yes',
    AZURE_EXTENSION_USE_DYNAMIC_INSTALL: 'no',
    REQUESTS_CA_BUNDLE: endpoints.caFile,
    PYTHONPATH: DEBIAN_SHIM,
  };
  const run = (...args: string[]) => runAz(args, env);
  const az: Az = {
    run,
    secret: SECRET,
    async ok(...args) {
      const { code, json, stderr } = await run(...args);
      if (code !== 0) throw new Error(`az ${args.join(' ')} ended with ${code}: ${stderr}`);
      return json;
    },
    dispose: () => rm(config, { recursive: true, force: true }),
  };
  try {
    await az.ok('cloud', 'register', '-n', CLOUD, '--profile', 'latest', ...endpointArguments(endpoints.https));
    await az.ok('cloud', 'set', '-n', CLOUD);
    const who = ['-u', CLIENT, '-p', SECRET, '--tenant', endpoints.tenantId];
    await az.ok('login', '--service-principal', ...who);
    return az;
  } catch (error) {
    await az.dispose();
    throw error;
  }
}

/** Every endpoint of a cloud is named, so that az asks nobody else. An authority that ends in /adfs is asked directly. */
function endpointArguments(arm: string): string[] {
  const audience = 'https://management.azure.com/';
  const given = {
    'endpoint-resource-manager': arm,
    'endpoint-management': arm,
    'endpoint-active-directory': `${arm}/adfs`,
    'endpoint-active-directory-resource-id': audience,
    'endpoint-active-directory-graph-resource-id': arm,
    'endpoint-active-directory-data-lake-resource-id': arm,
    'endpoint-gallery': arm,
    'endpoint-sql-management': arm,
    'endpoint-vm-image-alias-doc': `${arm}/aliases.json`,
    'suffix-storage-endpoint': 'core.windows.net',
    'suffix-keyvault-dns': '.vault.azure.net',
  };
  return Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
}

function runAz(args: readonly string[], env: NodeJS.ProcessEnv): Promise<AzResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('az', args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => void (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => void (stderr += chunk.toString()));
    child.once('error', (error) => {
      reject(new Error(`the command az cannot be run (Debian: apt-get install azure-cli): ${error.message}`));
    });
    child.once('close', (code) => {
      try {
        const json: unknown = stdout.trim() === '' ? undefined : JSON.parse(stdout);
        resolve({ code: code ?? -1, json, stderr });
      } catch {
        reject(new Error(`az ${args.join(' ')} printed no JSON: ${stdout}`));
      }
    });
  });
}
