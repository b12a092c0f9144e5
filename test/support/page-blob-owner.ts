import { randomBytes } from 'node:crypto';
import {
  BlobServiceClient,
  type ContainerClient,
  PageBlobClient,
  type StorageSharedKeyCredential,
} from '@azure/storage-blob';
import type { DiskOwner } from './disk-owner.ts';

/** Disks of a real blob service, handled with the SDK alone. */
export function pageBlobOwner(blobServiceUrl: string, credential: StorageSharedKeyCredential): DiskOwner {
  const service = new BlobServiceClient(blobServiceUrl, credential);
  const page = (url: string) => new PageBlobClient(url, credential);
  const containerOf = (url: string): ContainerClient =>
    service.getContainerClient(url.slice(blobServiceUrl.length + 1).split('/')[0] ?? '');
  let given = 0;

  return {
    newUrl(name = 'disk.vhd') {
      given += 1;
      const container = service.getContainerClient(`set-${given}-${randomBytes(4).toString('hex')}`);
      return `${container.url}/${name.split('/').map(encodeURIComponent).join('/')}`;
    },
    async create(url, sizeBytes, metadata = {}) {
      await containerOf(url).createIfNotExists();
      await page(url).create(sizeBytes, { metadata: { ...metadata } });
    },
    async write(url, offset, body) {
      for (let at = 0; at < body.byteLength; at += 4_194_304) {
        const piece = body.subarray(at, at + 4_194_304);
        await page(url).uploadPages(piece, offset + at, piece.byteLength);
      }
    },
    async clear(url, { start, end }) {
      await page(url).clearPages(start, end - start);
    },
    async resize(url, sizeBytes) {
      await page(url).resize(sizeBytes);
    },
    async delete(url) {
      await page(url)
        .getBlobLeaseClient()
        .breakLease(0)
        .catch(() => undefined);
      await page(url).delete({ deleteSnapshots: 'include' });
    },
    async putText(url, text) {
      await containerOf(url).createIfNotExists();
      await page(url).getBlockBlobClient().upload(text, Buffer.byteLength(text));
    },
    async text(url) {
      return (await page(url).downloadToBuffer()).toString('utf8');
    },
    async metadata(url) {
      return (await page(url).exists()) ? ((await page(url).getProperties()).metadata ?? {}) : undefined;
    },
    async setMetadata(url, metadata, leaseId) {
      await page(url).setMetadata({ ...metadata }, { conditions: { leaseId } });
    },
    async breakLease(url) {
      await page(url).getBlobLeaseClient().breakLease(0);
    },
    async lease(url, leaseId) {
      await page(url).getBlobLeaseClient(leaseId).acquireLease(-1);
    },
    async isLeased(url) {
      return (await page(url).getProperties()).leaseStatus === 'locked';
    },
  };
}
