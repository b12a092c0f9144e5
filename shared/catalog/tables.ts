import type { z } from 'zod';
import { alertRow } from './alert-row.ts';
import {
  type Catalog,
  itemRow,
  jobIndexRow,
  jobRow,
  markRow,
  openJobRow,
  pointRow,
  policyRow,
  unitRow,
  vaultRow,
} from './catalog.ts';
import type { CatalogTable } from './catalog-table.ts';
import { cleanUpReportRow, cleanUpRow } from './clean-up-row.ts';
import { featureRow } from './feature-row.ts';
import { checkRow, findingRow } from './finding-row.ts';
import { operationRow } from './operation-row.ts';
import { reportRow } from './report-row.ts';

/** Makes one table. */
export type MakeTable = <Row extends object>(tableName: string, schema: z.ZodType<Row>) => CatalogTable<Row>;

/** The catalog, each table of which `table` makes: the one place that says which there are, how they are called, what is in them. */
export function catalogOf(table: MakeTable): Catalog {
  return {
    vaults: table('strataVaults', vaultRow),
    policies: table('strataPolicies', policyRow),
    items: table('strataItems', itemRow),
    points: table('strataPoints', pointRow),
    jobs: table('strataJobs', jobRow),
    openJobs: table('strataOpenJobs', openJobRow),
    jobIndex: table('strataJobIndex', jobIndexRow),
    units: table('strataUnits', unitRow),
    marks: table('strataMarks', markRow),
    findings: table('strataFindings', findingRow),
    checks: table('strataChecks', checkRow),
    reports: table('strataReports', reportRow),
    features: table('strataFeatures', featureRow),
    cleanUps: table('strataCleanUps', cleanUpRow),
    cleanUpReports: table('strataCleanUpReports', cleanUpReportRow),
    operations: table('strataOperations', operationRow),
    alerts: table('strataAlerts', alertRow),
  };
}
