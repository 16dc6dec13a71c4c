/** Measures an operation: its duration in seconds, and its result. */
export async function timed<Value>(body: () => Promise<Value>): Promise<[seconds: number, value: Value]> {
  const startedAt = performance.now();
  const value = await body();
  return [(performance.now() - startedAt) / 1000, value];
}
