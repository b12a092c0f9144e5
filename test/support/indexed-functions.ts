/**
 * Loads the built app as a worker does and prints what the worker would tell its host: RpcFunctionMetadata of each function, as
 * JSON. A process of its own, since what an app registers goes to the process's one core module.
 */
import { glob, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createRegistry, installCoreModule } from '../../local/host/core-module.ts';

const APP = fileURLToPath(new URL('../..', import.meta.url));

const { main } = JSON.parse(await readFile(join(APP, 'package.json'), 'utf8')) as { main: string };
const registry = createRegistry(() => {});
installCoreModule(registry);
const found: object[] = [];
for (const file of (await Array.fromAsync(glob(main, { cwd: APP }))).toSorted()) {
  const known = new Set(registry.functions.keys());
  await import(pathToFileURL(join(APP, file)).href);
  for (const [functionId, { metadata }] of registry.functions) {
    if (known.has(functionId)) continue;
    const { name, bindings, retryOptions } = metadata;
    const rawBindings = Object.entries(bindings).map(([own, binding]) => JSON.stringify({ ...binding, name: own }));
    const types = Object.entries(bindings).map(([own, { type, direction }]) => [own, { type, direction }]);
    found.push({
      name,
      functionId,
      directory: dirname(file),
      scriptFile: basename(file),
      ...(retryOptions === undefined ? {} : { retryOptions }),
      bindings: Object.fromEntries(types) as object,
      rawBindings,
    });
  }
}
console.log(JSON.stringify(found, undefined, 2));
