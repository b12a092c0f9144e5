import type { Route } from './route.ts';
import { DISCOVERY_ROUTES } from './routes/discovery.ts';
import { FEATURES_ROUTES } from './routes/features.ts';
import { ITEMS_ROUTES } from './routes/items.ts';
import { JOBS_ROUTES } from './routes/jobs.ts';
import { OPERATIONS_ROUTES } from './routes/operations.ts';
import { POINTS_ROUTES } from './routes/points.ts';
import { POLICIES_ROUTES } from './routes/policies.ts';
import { providerRoutes } from './routes/provider.ts';
import { REFUSED_ROUTES } from './routes/refused.ts';
import { SETTINGS_ROUTES } from './routes/settings.ts';
import { STRATA_ROUTES } from './routes/strata.ts';
import { VALIDATE_ROUTES } from './routes/validate.ts';
import { VAULTS_ROUTES } from './routes/vaults.ts';

const SERVED: readonly Route[] = [
  ...VAULTS_ROUTES,
  ...SETTINGS_ROUTES,
  ...DISCOVERY_ROUTES,
  ...POLICIES_ROUTES,
  ...ITEMS_ROUTES,
  ...POINTS_ROUTES,
  ...JOBS_ROUTES,
  ...VALIDATE_ROUTES,
  ...OPERATIONS_ROUTES,
  ...FEATURES_ROUTES,
  ...STRATA_ROUTES,
];

/**
 * The whole API: what can be asked, who may ask at least, who answers. Readers read; operators protect, back up, restore and
 * cancel; contributors do the rest.
 */
export const ROUTES: readonly Route[] = [...SERVED, ...providerRoutes(SERVED), ...REFUSED_ROUTES];
