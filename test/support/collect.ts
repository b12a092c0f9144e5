/** All that `values` yields. */
export async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const found = [];
  for await (const value of values) found.push(value);
  return found;
}
