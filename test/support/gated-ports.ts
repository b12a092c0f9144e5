import type { Ports } from '../../shared/services/ports.ts';

/** A handler's process has died: nothing of the handler runs after this. */
export class Killed extends Error {}

/** What happens at a call of a port, named as `vault.put`; `args` are the call's own. */
export interface Gate {
  /** Before the call is made; throwing Killed means that it never was. */
  before(call: string, args: readonly unknown[]): void | Promise<void>;
  /** After it was made, before its caller learns of it; throwing Killed means that the answer is lost with the caller. */
  after(call: string, args: readonly unknown[]): void | Promise<void>;
}

/** The same ports, each call of which goes through `gate`. A process that has been killed makes no calls any more. */
export function gatedPorts(ports: Ports, gate: Gate): Ports {
  return {
    ...ports,
    vaults: {
      open: async (name) => gated(await ports.vaults.open(name), 'vault', gate),
      list: () => gatedListing(() => ports.vaults.list(), 'vaults.list', [], gate),
      drop: (name) => ports.vaults.drop(name),
    },
    snapshots: gated(ports.snapshots, 'snapshots', gate),
    targets: gated(ports.targets, 'targets', gate),
    queue: gated(ports.queue, 'queue', gate),
    compute: gated(ports.compute, 'compute', gate),
    catalog: Object.fromEntries(
      Object.entries(ports.catalog).map(([name, table]) => [name, gated(table as object, name, gate)]),
    ) as unknown as Ports['catalog'],
  };
}

function gated<Port extends object>(port: Port, name: string, gate: Gate): Port {
  return new Proxy(port, {
    get(target, method, receiver): unknown {
      const found: unknown = Reflect.get(target, method, receiver);
      if (typeof found !== 'function' || typeof method !== 'string') return found;
      const call = `${name}.${method}`;
      return (...args: unknown[]) => {
        const listing = isListing(call);
        if (listing)
          return gatedListing(() => Reflect.apply(found, target, args) as AsyncIterable<unknown>, call, args, gate);
        return (async () => {
          await gate.before(call, args);
          const result: unknown = await (Reflect.apply(found, target, args) as Promise<unknown>);
          await gate.after(call, args);
          return result;
        })();
      };
    },
  });
}

const isListing = (call: string): boolean =>
  /\.(list|listColumns|listAll|folders|allocated|changed|virtualMachines)$/.test(call);

async function* gatedListing<Item>(
  list: () => AsyncIterable<Item>,
  call: string,
  args: readonly unknown[],
  gate: Gate,
): AsyncGenerator<Item> {
  await gate.before(call, args);
  yield* list();
  await gate.after(call, args);
}
