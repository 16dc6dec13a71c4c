/** Polling, for conditions that no event reports. */

const INTERVAL_MS = 50;
const LIMIT_MS = 60_000;

/** Resolves when `holds` does; rejects if it does not within a minute. */
export async function eventually(holds: () => boolean | Promise<boolean>, limitMs: number = LIMIT_MS): Promise<void> {
  const limit = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > limit) throw new Error(`not within ${limitMs} ms: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}
