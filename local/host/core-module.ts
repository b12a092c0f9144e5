import { Module } from 'node:module';
import type {
  FunctionCallback,
  FunctionMetadata,
  HookCallback,
  HookName,
  ProgrammingModel,
  RpcLogLevel,
} from './rpc.ts';

/** The Functions host version whose behaviour this host follows; `@azure/functions` reads it. */
const HOST_VERSION = '4.1042.100';
const WORKER_VERSION = '3.12.0';
const HOOKS: readonly string[] = ['appStart', 'appTerminate', 'preInvocation', 'postInvocation', 'log'];

export interface RegisteredFunction {
  readonly metadata: FunctionMetadata;
  readonly callback: FunctionCallback;
}

/** What a function app said about itself while its files were loaded. */
export interface AppRegistry {
  readonly functions: Map<string, RegisteredFunction>;
  readonly hooks: Record<HookName, HookCallback[]>;
  /** Set by `@azure/functions` when the app registers its first function. */
  programmingModel: ProgrammingModel | undefined;
  /** After start-up no function may be added: the host has made its list. */
  locked: boolean;
  log(level: RpcLogLevel, message: string): void;
}

export function createRegistry(log: AppRegistry['log']): AppRegistry {
  return {
    functions: new Map(),
    hooks: { appStart: [], appTerminate: [], preInvocation: [], postInvocation: [], log: [] },
    programmingModel: undefined,
    locked: false,
    log,
  };
}

class Disposable {
  #dispose: (() => unknown) | undefined;

  static from(...disposables: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => disposables.forEach((disposable) => disposable.dispose()));
  }

  constructor(dispose: () => unknown) {
    this.#dispose = dispose;
  }

  dispose(): void {
    this.#dispose?.();
    this.#dispose = undefined;
  }
}

/**
 * Makes `require('@azure/functions-core')` answer with this host's side of the contract, as the Azure worker does: there is no
 * such package on disk. From then on functions and hooks that load in this process go to `app`. Once per process.
 */
export function installCoreModule(app: AppRegistry): void {
  const api = {
    version: WORKER_VERSION,
    hostVersion: HOST_VERSION,
    Disposable,
    log: (level: RpcLogLevel, _category: string, message: string) => app.log(level, message),
    setProgrammingModel(model: ProgrammingModel) {
      app.programmingModel = model;
    },
    getProgrammingModel: () => app.programmingModel,
    registerFunction: (metadata: FunctionMetadata, callback: FunctionCallback) =>
      registerFunction(app, metadata, callback),
    registerHook: (name: string, callback: HookCallback) => registerHook(app, name, callback),
  };
  // oxlint-disable-next-line typescript/unbound-method -- called below with the module that requires
  const original = Module.prototype.require;
  Module.prototype.require = Object.assign(function require(this: Module, id: string): unknown {
    return id === '@azure/functions-core' ? api : original.call(this, id);
  }, original);
}

function registerFunction(app: AppRegistry, metadata: FunctionMetadata, callback: FunctionCallback): Disposable {
  if (app.locked) throw new Error('A function can only be registered during app startup.');
  const id = metadata.functionId ?? metadata.name;
  if (app.functions.has(id)) throw new Error(`A function with id "${id}" has already been registered.`);
  app.functions.set(id, { metadata, callback });
  return new Disposable(() => {
    if (app.locked) throw new Error('A function can only be disposed during app startup.');
    app.functions.delete(id);
  });
}

function registerHook(app: AppRegistry, name: string, callback: HookCallback): Disposable {
  if (!HOOKS.includes(name)) throw new RangeError(`Unrecognized hook "${name}"`);
  const callbacks = app.hooks[name as HookName];
  callbacks.push(callback);
  return new Disposable(() => {
    const at = callbacks.indexOf(callback);
    if (at >= 0) callbacks.splice(at, 1);
  });
}
