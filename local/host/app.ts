import { glob, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AppRegistry } from './core-module.ts';
import { failureText } from './failure-text.ts';

/** The app could not be loaded; the message names the file and the reason. */
export class AppLoadError extends Error {
  override readonly name = 'AppLoadError';
}

/**
 * Loads every file that `main` of the app's package.json matches, in the order of their names, and then runs its appStart hooks.
 * ES modules are imported and CommonJS required by the worker's rule: the extension first, then `type`.
 *
 * Azure logs a file that fails to load and goes on without it; here it stops the start, because a missing trigger on a
 * developer's machine is a mistake to see at once.
 * @throws AppLoadError
 */
export async function loadApp(appDir: string, app: AppRegistry, appHookData: Record<string, unknown>): Promise<void> {
  const manifest = await readManifest(appDir);
  if (manifest.main === undefined)
    throw new AppLoadError(`${join(appDir, 'package.json')} has no "main": it names the files that register functions`);
  const files: string[] = [];
  for await (const file of glob(manifest.main, { cwd: appDir })) files.push(file);
  files.sort();
  if (files.length === 0)
    throw new AppLoadError(`no file matches "${manifest.main}" in ${appDir}: build the app first (npm run build)`);
  for (const file of files) {
    app.log('debug', `loading ${file}`);
    try {
      await loadFile(join(appDir, file), manifest.type);
    } catch (error) {
      throw new AppLoadError(`${file} does not load: ${failureText(error)}`, { cause: error });
    }
  }
  if (app.functions.size === 0) throw new AppLoadError(`the files of "${manifest.main}" registered no function`);
  if (app.programmingModel?.getCapabilities === undefined)
    throw new AppLoadError('the app did not register through @azure/functions version 4');
  const capabilities = await app.programmingModel.getCapabilities({});
  if (capabilities['HttpUri'] !== undefined)
    throw new AppLoadError('app.setup({ enableHttpStream: true }) is not served here: leave HTTP streaming off');
  for (const hook of app.hooks.appStart) await hook({ hookData: {}, appHookData, functionAppDirectory: appDir });
  app.locked = true;
}

async function readManifest(appDir: string): Promise<{ main?: string; type?: string }> {
  const path = join(appDir, 'package.json');
  try {
    return JSON.parse(await readFile(path, 'utf8')) as { main?: string; type?: string };
  } catch (error) {
    throw new AppLoadError(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

async function loadFile(path: string, packageType: string | undefined): Promise<void> {
  const isModule = path.endsWith('.mjs') || (!path.endsWith('.cjs') && packageType === 'module');
  if (isModule) await import(pathToFileURL(path).href);
  else createRequire(path)(path);
}
