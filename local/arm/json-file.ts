import type { ZodType } from 'zod';
import { readFileIfAny, writeFileAtomic } from '../platform/files.ts';

/**
 * One JSON document in the data folder, held in memory by the one process that owns it.
 *
 * `update` works on a copy, writes it in one step and only then makes it the current value, so that neither a throw in
 * the change nor a failed write leaves memory and disk apart. It is synchronous: changes cannot interleave.
 */
export interface JsonFile<T> {
  readonly value: T;
  update<R>(change: (draft: T) => R): R;
}

/**
 * Opens the document, or begins it with `initial` (nothing is written before the first update).
 * @throws Error naming the file when it is there and is not what `schema` says.
 */
export function openJsonFile<T>(path: string, schema: ZodType<T>, initial: () => T, mode?: number): JsonFile<T> {
  let value = read(path, schema) ?? initial();
  return {
    get value() {
      return value;
    },
    update(change) {
      const draft = structuredClone(value);
      const result = change(draft);
      writeFileAtomic(path, `${JSON.stringify(draft, undefined, 1)}\n`, mode);
      value = draft;
      return result;
    },
  };
}

function read<T>(path: string, schema: ZodType<T>): T | undefined {
  const text = readFileIfAny(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is damaged or of another version; delete it to begin anew`, { cause: error });
  }
}
