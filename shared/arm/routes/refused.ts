import { noContent } from '../http.ts';
import { refused, type Route, route } from '../route.ts';
import { theVault } from '../vaults.ts';
import { CONTRIBUTOR, FABRIC, LOCATION, OPERATOR, POINT, READER, V } from './paths.ts';

const CONFIG = `${V}/backupstorageconfig/vaultstorageconfig` as const;
const EXTENDED = `${V}/extendedInformation/vaultExtendedInfo` as const;
const ENDPOINT = `${V}/privateEndpointConnections/{endpoint}` as const;
const TIERING = `${V}/backupTieringCost/default` as const;

const NO_DELETED_VAULTS = 'a deleted vault is gone at once: there is none that could be shown or brought back';
const NO_ENDPOINTS = 'vaults here have no private endpoints: the function app is reached as its deployment says';
const NO_AGENTS = 'this version protects virtual machines only, so no agents or servers are registered with a vault';
const NO_MOVE = 'the data of a vault stays in its container: redundancy is that of the storage account';
const NO_OPERATION = 'nothing that this version does makes operations of this kind';
const NO_ARCHIVE = 'this version has no archive tier';
const NO_FILES = 'this version does not mount recovery points: restore disks instead';
const NO_REGIONS = 'this version keeps a vault in one region: there is no secondary one';

/**
 * What clients of the service can ask and this version does not do: each is refused with its reason rather than found unknown. Deleting
 * what is never there succeeds, as everywhere in ARM.
 */
export const REFUSED_ROUTES: readonly Route[] = [
  refused('GET', `${LOCATION}/deletedVaults/{deletedVault}`, 404, 'ResourceNotFound', NO_DELETED_VAULTS),
  refused(
    'GET',
    `${LOCATION}/deletedVaults/{deletedVault}/operations/{operation}`,
    404,
    'OperationNotFound',
    NO_DELETED_VAULTS,
  ),
  refused('POST', `${LOCATION}/deletedVaults/{deletedVault}/undelete`, 404, 'ResourceNotFound', NO_DELETED_VAULTS),

  refused('PUT', `${V}/certificates/{certificate}`, 405, 'MethodNotAllowed', NO_AGENTS),
  refused('DELETE', `${V}/registeredIdentities/{identity}`, 405, 'MethodNotAllowed', NO_AGENTS),
  refused('GET', EXTENDED, 404, 'ResourceNotFound', NO_AGENTS),
  refused('PUT', EXTENDED, 405, 'MethodNotAllowed', NO_AGENTS),
  refused('PATCH', EXTENDED, 405, 'MethodNotAllowed', NO_AGENTS),
  refused('GET', `${V}/backupEngines/{engine}`, 404, 'ResourceNotFound', NO_AGENTS),

  refused('GET', ENDPOINT, 404, 'ResourceNotFound', NO_ENDPOINTS),
  refused('PUT', ENDPOINT, 405, 'MethodNotAllowed', NO_ENDPOINTS),
  route({
    method: 'DELETE',
    template: ENDPOINT,
    role: CONTRIBUTOR,
    summary: 'Delete a private endpoint connection, of which there are none',
    answers: { 204: 'none' },
    handler: async (call) => {
      await theVault(call);
      return noContent;
    },
  }),
  refused('GET', `${ENDPOINT}/operationsStatus/{operation}`, 404, 'OperationNotFound', NO_ENDPOINTS),
  refused('GET', `${V}/privateLinkResources/{link}`, 404, 'ResourceNotFound', NO_ENDPOINTS),

  refused('GET', `${CONFIG}/operationResults/{operation}`, 404, 'OperationNotFound', NO_OPERATION),
  refused('GET', `${CONFIG}/operationStatus/{operation}`, 404, 'OperationNotFound', NO_OPERATION),
  refused('POST', `${CONFIG}/prepareDataMove`, 400, 'OperationNotSupported', NO_MOVE),
  refused('POST', `${CONFIG}/triggerDataMove`, 400, 'OperationNotSupported', NO_MOVE),

  refused(
    'GET',
    `${FABRIC}/backupProtectionIntent/{intent}`,
    404,
    'ResourceNotFound',
    'VMs are protected by their protected items; there are no intents',
  ),
  refused(
    'PUT',
    `${FABRIC}/backupProtectionIntent/{intent}`,
    400,
    'OperationNotSupported',
    'VMs are protected by their protected items: PUT .../protectionContainers/{container}/protectedItems/{item}',
    OPERATOR,
  ),

  refused('POST', `${POINT}/accessToken`, 400, 'OperationNotSupported', NO_REGIONS, OPERATOR),
  refused('POST', `${POINT}/move`, 400, 'OperationNotSupported', NO_ARCHIVE, OPERATOR),
  refused('POST', `${POINT}/provisionInstantItemRecovery`, 400, 'OperationNotSupported', NO_FILES, OPERATOR),
  refused('POST', `${POINT}/revokeInstantItemRecovery`, 400, 'OperationNotSupported', NO_FILES, OPERATOR),

  refused('GET', `${LOCATION}/backupAadProperties`, 404, 'InvalidResourceType', NO_REGIONS),
  refused('POST', `${LOCATION}/backupCrossRegionRestore`, 404, 'InvalidResourceType', NO_REGIONS, OPERATOR),
  refused('POST', `${LOCATION}/backupCrrJob`, 404, 'InvalidResourceType', NO_REGIONS, OPERATOR),
  refused('POST', `${LOCATION}/backupCrrJobs`, 404, 'InvalidResourceType', NO_REGIONS, READER),
  refused('GET', `${LOCATION}/backupCrrOperationResults/{operation}`, 404, 'InvalidResourceType', NO_REGIONS),
  refused('GET', `${LOCATION}/backupCrrOperationsStatus/{operation}`, 404, 'InvalidResourceType', NO_REGIONS),

  refused('POST', `${TIERING}/fetchTieringCost`, 400, 'OperationNotSupported', NO_ARCHIVE),
  refused('GET', `${TIERING}/operationResults/{operation}`, 404, 'OperationNotFound', NO_ARCHIVE),
  refused('GET', `${TIERING}/operationsStatus/{operation}`, 404, 'OperationNotFound', NO_ARCHIVE),
];
