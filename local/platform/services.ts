import { createNeighbours } from '../arm/neighbours.ts';
import type { ControllableClock } from '../clock/clock.ts';
import { createComputeEmulator } from '../compute/emulator.ts';
import { createIdentity } from '../identity/issuer.ts';
import type { Endpoints } from './endpoints.ts';
import type { Handler } from './front.ts';

/** The parts of Azure around Strata that the supervisor serves itself. */
export interface Services {
  readonly handlers: readonly Handler[];
  /** How the app reaches them: whose tokens to accept, and its own service principal for DefaultAzureCredential. */
  readonly env: Readonly<Record<string, string>>;
}

/** Where managed disks lie: not in the app's own account, so that a listing of the vault shows the vault alone. */
const MANAGED_DISK_ACCOUNT = 'stratadisks1';

/** Token issuer, Compute, and the look-ups that clients make, on one data folder and the accounts of `endpoints`. */
export async function createServices(options: {
  dataDir: string;
  endpoints: Endpoints;
  location: string;
  clock: ControllableClock;
  /** Whether copies of page blobs stand alone, so that storage may copy disks by itself. */
  serverCopies: boolean;
}): Promise<Services> {
  const { dataDir, endpoints, location, clock, serverCopies } = options;
  const { subscriptionId, tenantId, storage, https } = endpoints;
  const identity = await createIdentity({ dataDir, tenantId });
  const { audience } = identity;
  const verify = (token: string) => identity.verify(token);
  const compute = createComputeEmulator({
    dataDir,
    subscriptionId,
    location,
    storage: storage.toSorted((a, b) => rank(a.account) - rank(b.account)),
    now: () => clock.now(),
    serverCopies,
    verify,
  });
  const neighbours = createNeighbours({
    subscriptionId,
    tenantId,
    location,
    storage,
    resourceGroups: compute.resourceGroups,
    audience,
    verify,
  });
  return {
    handlers: [identity.handle, compute.handle, neighbours],
    env: {
      STRATA_TOKEN_ISSUER: identity.issuer(https),
      STRATA_TOKEN_AUDIENCE: audience,
      STRATA_TOKEN_JWKS: `${https}${identity.jwksPath}`,
      // An authority that ends in /adfs is asked directly; for any other the SDK first asks the public cloud about it.
      AZURE_AUTHORITY_HOST: https,
      AZURE_TENANT_ID: 'adfs',
      AZURE_CLIENT_ID: identity.clientId,
      AZURE_CLIENT_SECRET: identity.clientSecret,
    },
  };
}

function rank(account: string): number {
  return account === MANAGED_DISK_ACCOUNT ? 0 : 1;
}
