import type { TokenCredential } from '@azure/identity';
import {
  BlobClient,
  ContainerClient,
  newPipeline,
  PageBlobClient,
  type Pipeline,
  type StorageRetryOptions,
  type StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import { InjectorPolicyFactory, type TryWatch } from '../azure/observed-tries.ts';

export type PageBlobCredential = StorageSharedKeyCredential | TokenCredential;

/** How the page blobs of all storage accounts are reached. */
export interface PageBlobAccess {
  /** What opens the account of `url`; undefined when the account is not known. The same object each time keeps connections. */
  credentialFor(url: string): PageBlobCredential | undefined;
  /** Default: 5 tries, the second at once (an idle connection that the server has closed), then after 0.4, 1.2 and 2.8 s. */
  readonly retryOptions?: StorageRetryOptions;
  /** A request with all its tries is given up after this. Default 60,000 ms. */
  readonly deadlineMs?: number;
  /** Is told of each try of each request, and may hold reads back. */
  readonly tries?: TryWatch;
}

/** SDK clients by URL. They are cheap; the pipelines below them, one for each credential, are kept. */
export interface PageBlobClients {
  /** @throws BackupError UserErrorUnsupportedDisk when the URL is no blob's or its account is not known */
  page(url: string): PageBlobClient;
  /** The same for a blob of any kind. */
  blob(url: string): BlobClient;
  /** The container that the blob of `url` lies in. */
  container(url: string): ContainerClient;
  /** A fresh signal that ends one request and its tries. */
  readonly deadline: (moreMs?: number) => AbortSignal;
  /** Who is told of tries that do not go through the clients' pipelines. */
  readonly tries: TryWatch | undefined;
}

const RETRIES: StorageRetryOptions = { maxTries: 5, retryDelayInMs: 400, maxRetryDelayInMs: 10_000 };

export function pageBlobClients(access: PageBlobAccess): PageBlobClients {
  const pipelines = new WeakMap<PageBlobCredential, Pipeline>();

  function pipelineFor(url: string): Pipeline {
    const credential = access.credentialFor(url);
    if (credential === undefined) {
      throw unsupported(url, 'its storage account is not known; name the account in STRATA_STORAGE_ACCOUNTS');
    }
    const { protocol } = new URL(url);
    if ('getToken' in credential && protocol !== 'https:') {
      throw unsupported(url, 'its storage account has no key in the settings, and a token is never sent without TLS');
    }
    let pipeline = pipelines.get(credential);
    if (pipeline === undefined) {
      pipeline = newPipeline(credential, { retryOptions: access.retryOptions ?? RETRIES });
      if (access.tries !== undefined) pipeline.factories.push(new InjectorPolicyFactory(access.tries));
      pipelines.set(credential, pipeline);
    }
    return pipeline;
  }

  return {
    page(url) {
      assertBlobUrl(url);
      return new PageBlobClient(url, pipelineFor(url));
    },
    blob(url) {
      assertBlobUrl(url);
      return new BlobClient(url, pipelineFor(url));
    },
    container(url) {
      assertBlobUrl(url);
      return new ContainerClient(containerUrl(url), pipelineFor(url));
    },
    deadline: (moreMs = 0) => AbortSignal.timeout((access.deadlineMs ?? 60_000) + moreMs),
    tries: access.tries,
  };
}

export function unsupported(url: string, found: string, cause?: unknown): BackupError {
  const message = `${url} cannot be used as a disk: expected the URL of a page blob, but ${found}`;
  return new BackupError('UserErrorUnsupportedDisk', message, { cause, target: url });
}

function assertBlobUrl(url: string): void {
  if (!URL.canParse(url)) throw unsupported(url, 'it is no URL');
  const { protocol, search } = new URL(url);
  if (protocol !== 'https:' && protocol !== 'http:') throw unsupported(url, `its scheme is ${protocol}`);
  // A message that quoted a signature would put it into logs.
  if (search !== '') throw unsupported(url.slice(0, url.indexOf('?')), 'it carries a query');
  if (containerPathLength(new URL(url)) === undefined) throw unsupported(url, 'it names no blob in a container');
}

/** The number of leading path segments up to the container, or undefined when nothing follows them. */
function containerPathLength({ hostname, pathname }: URL): number | undefined {
  // An emulator's host is an address or a bare name, and the account is the first segment of the path.
  const pathStyle = /^[\d.]+$|^\[|^[^.]+$/.test(hostname);
  const length = pathStyle ? 2 : 1;
  const segments = pathname.split('/').slice(1);
  const named = segments.length > length && segments.slice(0, length + 1).every((segment) => segment !== '');
  return named ? length : undefined;
}

function containerUrl(url: string): string {
  const parsed = new URL(url);
  const length = containerPathLength(parsed) ?? 1;
  return parsed.origin + parsed.pathname.split('/', length + 1).join('/');
}

/** The endpoint of the account of `url`: what one probe speaks for. */
export function accountEndpoint(url: string): string {
  const container = containerUrl(url);
  return container.slice(0, container.lastIndexOf('/'));
}

/** The blob's name in its container, decoded. */
export function blobName(url: string): string {
  const parsed = new URL(url);
  const length = containerPathLength(parsed) ?? 1;
  return decodeURIComponent(
    parsed.pathname
      .split('/')
      .slice(length + 1)
      .join('/'),
  );
}
