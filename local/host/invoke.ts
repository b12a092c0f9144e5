import { randomBytes, randomUUID } from 'node:crypto';
import type { AppRegistry, RegisteredFunction } from './core-module.ts';
import { failureText } from './failure-text.ts';
import type { HostLog } from './log.ts';
import type { CoreInvocationContext, RpcInvocationResponse, RpcLogCategory, RpcLogLevel, RpcTypedData } from './rpc.ts';

/** A function ran longer than host.json's functionTimeout. */
export class FunctionTimeoutError extends Error {
  override readonly name = 'FunctionTimeoutError';
}

/** The host is going away while the function still runs: its trigger must count the run as failed. */
export class HostStoppedError extends Error {
  override readonly name = 'HostStoppedError';
}

export interface Invoker {
  /**
   * Runs a function once: hooks, arguments, handler, response, as the Azure worker does.
   * @throws what the function throws; FunctionTimeoutError; HostStoppedError after `abandon`
   */
  invoke(
    fn: RegisteredFunction,
    input: { name: string; data: RpcTypedData },
    triggerMetadata: Record<string, RpcTypedData>,
  ): Promise<RpcInvocationResponse>;
  readonly running: number;
  /** Resolves true once nothing runs, false when something still does after `timeoutMs`. */
  idle(timeoutMs: number): Promise<boolean>;
  /** Ends all waiting for running functions with HostStoppedError. JavaScript cannot stop them: end the process soon. */
  abandon(reason: string): void;
}

export function createInvoker(options: {
  app: AppRegistry;
  appHookData: Record<string, unknown>;
  log: HostLog;
  timeoutMs: number;
  /** Called once a function has passed its time: only a new process gets rid of it. */
  onTimeout: (error: FunctionTimeoutError) => void;
}): Invoker {
  const { app, appHookData, log, timeoutMs, onTimeout } = options;
  const running = new Set<{ abandon: (error: Error) => void }>();
  const whenIdle = new Set<() => void>();

  const invoke: Invoker['invoke'] = async (fn, input, triggerMetadata) => {
    const { name } = fn.metadata;
    const invocationId = randomUUID();
    const startedAt = performance.now();
    const elapsed = () => `${Math.round(performance.now() - startedAt)} ms`;
    const { promise: abandoned, reject } = Promise.withResolvers<never>();
    const entry = { abandon: reject };
    running.add(entry);
    const timer =
      timeoutMs === Infinity
        ? undefined
        : setTimeout(() => {
            const error = new FunctionTimeoutError(`${name} ran longer than the functionTimeout of ${timeoutMs} ms`);
            reject(error);
            onTimeout(error);
          }, timeoutMs);
    log.write('information', `Function.${name}`, name, `executing (${invocationId})`);
    try {
      const run = runOnce(invocationId, app, appHookData, log, fn, input, triggerMetadata);
      const response = await Promise.race([run, abandoned]);
      log.write('information', `Function.${name}`, name, `succeeded in ${elapsed()} (${invocationId})`);
      return response;
    } catch (error) {
      const failed = `failed after ${elapsed()} (${invocationId})`;
      log.write('error', `Function.${name}`, name, `${failed}: ${failureText(error)}`);
      if (error instanceof Error) log.write('debug', `Function.${name}`, name, String(error.stack));
      throw error;
    } finally {
      clearTimeout(timer);
      running.delete(entry);
      if (running.size === 0) whenIdle.forEach((resolve) => resolve());
    }
  };

  return {
    invoke,
    get running() {
      return running.size;
    },
    idle(limitMs) {
      if (running.size === 0) return Promise.resolve(true);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const done = () => resolve(true);
      whenIdle.add(done);
      const timer = setTimeout(() => resolve(false), limitMs);
      return promise.finally(() => {
        clearTimeout(timer);
        whenIdle.delete(done);
      });
    },
    abandon(reason) {
      for (const { abandon } of running) abandon(new HostStoppedError(reason));
    },
  };
}

/** One run by the worker's order: arguments, preInvocation hooks, handler, postInvocation hooks, response. */
async function runOnce(
  invocationId: string,
  app: AppRegistry,
  appHookData: Record<string, unknown>,
  log: HostLog,
  fn: RegisteredFunction,
  input: { name: string; data: RpcTypedData },
  triggerMetadata: Record<string, RpcTypedData>,
): Promise<RpcInvocationResponse> {
  const { metadata, callback } = fn;
  const hookData = {};
  let invocationContext: unknown;
  const core: CoreInvocationContext = {
    invocationId,
    metadata,
    request: {
      invocationId,
      functionId: metadata.functionId ?? metadata.name,
      inputData: [input],
      triggerMetadata: { ...triggerMetadata, sys: systemMetadata(metadata.name) },
      traceContext: { traceParent: newTraceParent(), traceState: '', attributes: {} },
      retryContext: null,
    },
    log(level: RpcLogLevel, category: RpcLogCategory, message: string) {
      const line = { hookData, invocationContext, level, message, category };
      for (const hook of app.hooks.log) hook(line);
      log.write(
        line.level,
        `Function.${metadata.name}${category === 'user' ? '.User' : ''}`,
        metadata.name,
        line.message,
      );
    },
  };
  if (app.programmingModel === undefined) throw new Error('no programming model is registered');
  const model = await app.programmingModel.getInvocationModel(core);
  const { context, inputs } = await model.getArguments();
  invocationContext = context;

  const before = { hookData, appHookData, invocationContext: context, functionCallback: callback, inputs };
  core.state = 'preInvocationHooks';
  for (const hook of app.hooks.preInvocation) await hook(before);

  const after = { hookData, appHookData, invocationContext: context, inputs: before.inputs, result: null, error: null };
  const outcome = after as Omit<typeof after, 'result' | 'error'> & { result: unknown; error: unknown };
  core.state = 'invocation';
  try {
    outcome.result = await model.invokeFunction(context, before.inputs, before.functionCallback);
  } catch (error) {
    // A thrown null or undefined still is a failure.
    outcome.error = error ?? new Error('the function threw nothing');
  }
  core.state = 'postInvocationHooks';
  for (const hook of app.hooks.postInvocation) await hook(outcome);
  core.state = undefined;
  if (outcome.error !== null && outcome.error !== undefined) throw outcome.error;
  return model.getResponse(context, outcome.result);
}

function systemMetadata(methodName: string): RpcTypedData {
  return { json: JSON.stringify({ MethodName: methodName, UtcNow: new Date().toISOString(), RandGuid: randomUUID() }) };
}

/** A W3C traceparent that begins a trace of its own. */
function newTraceParent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`;
}
