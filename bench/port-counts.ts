import { encodeRow } from '../shared/catalog/row-codec.ts';
import { messageText } from '../shared/queue/message-text.ts';
import type { Step } from '../shared/queue/steps.ts';
import type { Ports } from '../shared/services/ports.ts';
import { gatedPorts } from '../test/support/gated-ports.ts';

/** The kinds of objects in a vault that sizes are kept of. */
export type ObjectKind = 'plan' | 'manifest' | 'record' | 'slab' | 'layer' | 'pack' | 'checkpoint';

/** What went through the ports. */
export interface Counts {
  /** Calls by what they ask for, as a request each: listings too, however long they are. */
  readonly requests: Record<string, number>;
  readonly messages: number;
  /** Objects put, and their bytes, by kind. */
  readonly put: Partial<Record<ObjectKind, { objects: number; bytes: number; largest: number }>>;
  /** Of any message, in bytes as sent. */
  readonly largestMessage: Largest;
  /** Of any property of any row, in characters. */
  readonly largestProperty: Largest;
}

interface Largest {
  readonly size: number;
  readonly what: string;
}

const KINDS: readonly [RegExp, ObjectKind][] = [
  [/\/plans\//, 'plan'],
  [/\/points\//, 'manifest'],
  [/\/chain\//, 'record'],
  [/\.slab$/, 'slab'],
  [/\.layer$/, 'layer'],
  [/\.pack$/, 'pack'],
  [/\.checkpoint$/, 'checkpoint'],
];

/** What a call would be on real storage, in the words of the storage services' REST references; undefined for what is no request. */
function requestOf(call: string): string | undefined {
  const [port = '', method = ''] = call.split('.');
  if (port === 'queue' || port === 'compute') return undefined;
  const own: Readonly<Record<string, string>> = {
    'vault.put': 'put blob',
    'vault.read': 'get blob',
    'vault.readWhole': 'get blob',
    'vault.stat': 'head',
    'vault.list': 'list',
    'vault.folders': 'list',
    'vault.delete': 'delete',
    'snapshots.read': 'get snapshot bytes',
    'snapshots.allocated': 'page ranges',
    'snapshots.changed': 'page range diff',
    'targets.write': 'put page',
    'targets.allocated': 'page ranges',
    'targets.readBack': 'get blob',
  };
  if (['vault', 'snapshots', 'targets'].includes(port)) return own[call] ?? `${port} ${method}`;
  return ['get', 'list', 'listAll'].includes(method) ? 'table read' : 'table write';
}

/** Ports that count; `take` answers what has been counted since the last question. */
export function countedPorts(ports: Ports): { ports: Ports; take: () => Counts } {
  const none = (): Largest => ({ size: 0, what: 'none' });
  const fresh = () => ({
    requests: {} as Record<string, number>,
    messages: 0,
    put: {} as Counts['put'],
    largestMessage: none(),
    largestProperty: none(),
  });
  let counts = fresh();

  const noteObject = (name: string, body: Uint8Array): void => {
    const kind = KINDS.find(([form]) => form.test(name))?.[1];
    if (kind === undefined) return;
    const { objects, bytes, largest } = counts.put[kind] ?? { objects: 0, bytes: 0, largest: 0 };
    counts.put[kind] = { objects: objects + 1, bytes: bytes + body.length, largest: Math.max(largest, body.length) };
  };
  const noteMessage = (step: Step): void => {
    counts.messages += 1;
    const { length: size } = messageText(step);
    if (size > counts.largestMessage.size) counts.largestMessage = { size, what: step.step };
  };
  const noteRow = (table: string, [partition, key, row]: [string, string, object]): void => {
    for (const [name, value] of Object.entries(encodeRow({ table, partition, key }, row))) {
      if (typeof value === 'string' && value.length > counts.largestProperty.size)
        counts.largestProperty = { size: value.length, what: `${name} of ${table}` };
    }
  };

  const gated = gatedPorts(ports, {
    before(call, args) {
      const request = requestOf(call);
      if (request !== undefined) counts.requests[request] = (counts.requests[request] ?? 0) + 1;
      if (call === 'vault.put') noteObject(args[0] as string, args[1] as Uint8Array);
      else if (call === 'queue.send') noteMessage(args[0] as Step);
      else if (request === 'table write' && !call.endsWith('.remove'))
        noteRow(call.split('.')[0]!, args as [string, string, object]);
    },
    after: () => undefined,
  });
  return {
    ports: gated,
    take() {
      const taken = counts;
      counts = fresh();
      return taken;
    },
  };
}
