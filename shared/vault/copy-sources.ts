import {
  BlobSASPermissions,
  type BlobServiceClient,
  type ContainerClient,
  StorageSharedKeyCredential,
  type UserDelegationKey,
} from '@azure/storage-blob';

/** How long a signature opens its blob: far longer than one request may take, with all its tries. */
const OPEN_MS = 60 * 60_000;
/** A key is asked for anew when it would end before a signature made with it. */
const KEY_MS = 6 * 60 * 60_000;
/** The service's machines do not agree on the time to the second. */
const SKEW_MS = 5 * 60_000;

/** URLs under which the service itself may read blobs of a container. */
export interface CopySources {
  /** The URL of a blob, signed for reading it. Costs no request, but for one or two every few hours. */
  url(blobName: string): Promise<string>;
}

interface SigningKey {
  /** Undefined where the account's key signs. */
  readonly value: UserDelegationKey | undefined;
  /** The storage's time less this process's monotonic one. */
  readonly aheadMs: number;
  /** By the storage's time. */
  readonly endsMs: number;
}

/**
 * Signs with the account's key where that is what opens the container, else with a key that the service gives to the app's identity for
 * some hours (a user delegation key; the role Storage Blob Data Contributor on the account includes the right to it). Signatures
 * live by the storage's time, which its answers tell, and not by this machine's.
 */
export function copySources(
  service: BlobServiceClient,
  container: ContainerClient,
  deadline: () => AbortSignal,
): CopySources {
  let key: Promise<SigningKey> | undefined;

  /** The storage's time, as far as it is known: what it said last, and what has gone by since. */
  const storageNow = (aheadMs: number): number => performance.now() + aheadMs;

  const renewed = async (): Promise<SigningKey> => {
    const { date } = await container.getProperties({ abortSignal: deadline() });
    // A service that tells no time signs nothing either; its refusal will say so.
    const nowMs = date?.getTime() ?? 0;
    const aheadMs = nowMs - performance.now();
    const endsMs = nowMs + KEY_MS;
    if (container.credential instanceof StorageSharedKeyCredential) return { value: undefined, aheadMs, endsMs };
    const startsOn = new Date(nowMs - SKEW_MS);
    const value = await service.getUserDelegationKey(startsOn, new Date(endsMs), { abortSignal: deadline() });
    return { value, aheadMs, endsMs };
  };

  /** What failed is tried again the next time. */
  const forget = (error: unknown): never => {
    key = undefined;
    throw error;
  };

  return {
    async url(blobName) {
      let current = await (key ??= renewed()).catch(forget);
      if (storageNow(current.aheadMs) + OPEN_MS > current.endsMs) current = await (key = renewed()).catch(forget);
      const blob = container.getBlobClient(blobName);
      const grant = {
        permissions: BlobSASPermissions.from({ read: true }),
        expiresOn: new Date(storageNow(current.aheadMs) + OPEN_MS),
      };
      return current.value === undefined
        ? blob.generateSasUrl(grant)
        : blob.generateUserDelegationSasUrl(grant, current.value);
    },
  };
}
