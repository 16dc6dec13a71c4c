/** What the scripts say to the person who started them. */

const startedAt = performance.now();

/**
 * One line about what happens.
 * @param {string} text
 */
export function say(text) {
  console.error(`guestfs-grpc: ${text}`);
}

/**
 * A length of time, for people.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Time since the script started, for people. */
export function sinceStart() {
  return duration(performance.now() - startedAt);
}
