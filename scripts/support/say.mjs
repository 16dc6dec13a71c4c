/** Messages of the scripts to the user. */

const startedAt = performance.now();

/**
 * Prints one message.
 * @param {string} text
 */
export function say(text) {
  console.error(`guestfs-grpc: ${text}`);
}

/**
 * Formats a duration.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Time since the script started, formatted. */
export function sinceStart() {
  return duration(performance.now() - startedAt);
}
