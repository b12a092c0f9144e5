/** What the service can protect, of which this version protects virtual machines: lists of anything else are empty. */
export const MANAGEMENT_TYPES = [
  'AzureIaasVM',
  'AzureStorage',
  'AzureWorkload',
  'AzureSql',
  'AzureBackupServer',
  'MAB',
  'DPM',
  'DefaultBackup',
  'Invalid',
] as const;
export const VM_MANAGEMENT = 'AzureIaasVM';

export const WORKLOAD_TYPES = [
  'VM',
  'AzureFileShare',
  'SQLDataBase',
  'SQLDB',
  'SAPHanaDatabase',
  'SAPHanaDBInstance',
  'SAPAseDatabase',
  'FileFolder',
  'AzureSqlDb',
  'Exchange',
  'Sharepoint',
  'VMwareVM',
  'SystemState',
  'Client',
  'GenericDataSource',
  'Invalid',
] as const;
