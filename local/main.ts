import { PlatformError } from './platform/errors.ts';
import { startPlatform, type Endpoints } from './platform/start.ts';
import { platformGone, superviseWorker } from './platform/worker.ts';

/**
 * `npm start`: the local platform in the foreground, or with `STRATA_ROLE=worker` one more Functions host beside a running one.
 * Ctrl-C or SIGTERM stops it cleanly with exit code 0; what cannot start or go on is said in one line, with exit code 1.
 */
async function main(): Promise<void> {
  const dataDir = process.env['STRATA_DATA'] || '.strata';
  const role = process.env['STRATA_ROLE'] || 'platform';
  if (role === 'worker') return runWorker(dataDir);
  if (role === 'platform') return runPlatform(dataDir);
  throw new PlatformError(`STRATA_ROLE must be "worker" or not set; it is "${role}"`);
}

async function runPlatform(dataDir: string): Promise<void> {
  const storage = process.env['STRATA_STORAGE'] || 'completed';
  if (storage !== 'completed' && storage !== 'stock')
    throw new PlatformError(`STRATA_STORAGE must be "completed" or "stock"; it is "${storage}"`);
  const base = process.env['STRATA_PORT_BASE'];
  const signal = nextSignal();
  // The Functions host's own name for the folder of the app; for apps other than this project's.
  const appDir = process.env['AzureWebJobsScriptRoot'];
  const platform = await startPlatform({
    dataDir,
    portBase: base ? Number(base) : undefined,
    storage,
    ...(appDir ? { appDir } : {}),
  });
  console.log(readyText(platform.endpoints, dataDir, storage));
  const failure = await Promise.race([signal, platform.failed]);
  console.log(failure === undefined ? 'stopping' : `error: ${failure.message}`);
  await platform.stop();
  process.exit(failure === undefined ? 0 : 1);
}

async function runWorker(dataDir: string): Promise<void> {
  const signal = nextSignal();
  const worker = await superviseWorker({ dataDir }, console.log);
  console.log(`ready: a worker (pid ${worker.current?.pid}) of the platform in ${dataDir}; Ctrl-C stops it`);
  const gone = platformGone(dataDir).then(() => console.log('the platform has stopped'));
  const failure = await Promise.race([signal, worker.failed, gone]);
  if (failure !== undefined) console.log(`error: ${failure.message}`);
  await worker.stop();
  process.exit(failure === undefined ? 0 : 1);
}

/** Resolves at the first SIGTERM or Ctrl-C; later ones change nothing while the platform stops. */
function nextSignal(): Promise<undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  process.on('SIGTERM', () => resolve(undefined));
  process.on('SIGINT', () => resolve(undefined));
  return promise;
}

function readyText(
  { http, https, caFile, subscriptionId, functionKey, storage }: Endpoints,
  dataDir: string,
  mode: string,
): string {
  const accounts = storage
    .map(({ account, kind }) => (kind === 'premium' ? `${account} (premium)` : account))
    .join(', ');
  return [
    'Strata is ready',
    `  API           ${https}  and  ${http}`,
    `  CA            ${caFile}`,
    `  subscription  ${subscriptionId}`,
    `  function key  ${functionKey}`,
    `  storage       ${storage[0]?.blob.replace(/\/[^/]*$/, '')} (${mode}): ${accounts}`,
    `  data          ${dataDir} (endpoints.json says all of this)`,
    '  Ctrl-C stops it',
  ].join('\n');
}

try {
  await main();
} catch (error) {
  // A fault of the program keeps its stack; what a person can mend is one line.
  console.error(error instanceof PlatformError ? `error: ${error.message}` : error);
  process.exit(1);
}
