import { BackupError } from '../domain/errors.ts';

/** The parts of a virtual machine's resource id, spelled as they came. */
export interface VirtualMachineId {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly name: string;
}

const FORM =
  /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Compute\/virtualMachines\/([^/]+)\/?$/i;

/** Reads a resource id without regard to case, as ARM does. @throws BackupError InvalidRequest */
export function parseVirtualMachineId(resourceId: string): VirtualMachineId {
  const [, subscriptionId, resourceGroup, name] = FORM.exec(resourceId) ?? [];
  if (subscriptionId !== undefined && resourceGroup !== undefined && name !== undefined)
    return { subscriptionId, resourceGroup, name };
  const expected = '/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Compute/virtualMachines/<name>';
  throw new BackupError('InvalidRequest', `${resourceId} is no virtual machine's resource id: expected ${expected}`, {
    target: 'resourceId',
  });
}
