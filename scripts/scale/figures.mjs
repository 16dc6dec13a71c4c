/**
 * The figures that the simulation begins with, and where each comes from. Times are in seconds, memory is in MiB.
 * `test/unit/scripts/scale/figures.test.ts` checks that each source still says so.
 */

/**
 * @typedef {object} Figure
 * @property {number} value
 * @property {string} source a file of the project
 * @property {string} says what is in that file
 */

/**
 * @template {Record<string, Figure>} Figures
 * @param {Figures} figures
 * @returns {Readonly<Record<keyof Figures, number>>}
 */
function valuesOf(figures) {
  const entries = Object.entries(figures).map(([name, { value }]) => [name, value]);
  return /** @type {Record<keyof Figures, number>} */ (Object.fromEntries(entries));
}

const PEERS = 'src/server/replicas/peers.ts';

export const FIGURES = /** @satisfies {Record<string, Figure>} */ ({
  // Measured on two cores without KVM.
  coldLaunch: { value: 4.8, source: 'docs/performance.md', says: '| cold | 4.80 s |' },
  templateLaunch: { value: 0.63, source: 'docs/performance.md', says: '| from a template | 0.63 s |' },
  poolLaunch: { value: 0.31, source: 'docs/performance.md', says: '| from the pool | 0.31 s |' },
  poolRefill: { value: 1, source: 'docs/capacity.md', says: 'in the second that it takes to start a' },
  inspection: { value: 12, source: 'docs/inspection.md', says: '7.5 s for `inspect_os`, 4 s for partition tables' },
  serverTimeOfSession: {
    value: 0.031,
    source: 'docs/capacity.md',
    says: '| server CPU time to create, use and delete a session | 31 ms |',
  },
  serverTimeOfCall: {
    value: 0.00029,
    source: 'docs/performance.md',
    says: '`version` takes 280 to 290 µs of server CPU time',
  },
  sharedMemory: {
    value: 61,
    source: 'docs/capacity.md',
    says: '| memory shared by all clones of a template, once | 61',
  },
  cloneMemory: { value: 69, source: 'docs/capacity.md', says: 'A clone that waits in the pool takes 69 MiB' },
  sessionMemory: { value: 1280, source: 'docs/capacity.md', says: 'up to its `memsize`, 1280 MiB by default' },
  serverMemory: {
    value: 171,
    source: 'docs/reliability.md',
    says: '| memory of the server (RSS) | 160 MiB | 171 MiB |',
  },
  start: { value: 3, source: 'docs/deploy.md', says: 'server listens 2.6 and 3.0 s after `podman run`' },
  // Limits and intervals of the server.
  maxSessions: { value: 64, source: 'docs/limits.md', says: '| sessions of the server | 64 | `--max-sessions`' },
  maxConnections: { value: 1024, source: 'docs/limits.md', says: '| connections | 1024 | `--max-connections`' },
  loadSubscribers: { value: 256, source: 'docs/limits.md', says: '| 256, a report every second |' },
  retryAfter: { value: 5, source: 'src/session/sessionRegistry.ts', says: 'RETRY_AFTER_MS = 5000;' },
  roomAgain: { value: 0.05, source: 'src/server/capacity.ts', says: 'ROOM_AGAIN = 0.05;' },
  freeMemoryForPool: { value: 320, source: 'src/launcher/template/clonePool.ts', says: 'CLONE_MEMORY = 160 << 20;' },
  askInterval: { value: 10, source: PEERS, says: 'INTERVAL_MS = 10_000;' },
  askAgain: { value: 0.5, source: PEERS, says: 'LEAST_INTERVAL_MS = 500;' },
  askLimit: { value: 2, source: PEERS, says: 'ANSWER_LIMIT_MS = 2000;' },
  notedBy: { value: 2, source: 'src/server/replicas/firstAttempts.ts', says: 'NOTED_BY = 2;' },
  descriptors: { value: 65_536, source: 'deploy/systemd/guestfs-grpc.service', says: 'LimitNOFILE=65536' },
  pageSize: { value: 1000, source: 'src/server/sessionService.ts', says: 'MAX_PAGE_SIZE = 1000;' },
  // Of the configurations in deploy/.
  healthInterval: { value: 2, source: 'deploy/envoy/envoy.yaml', says: 'interval: 2s' },
  preStop: { value: 30, source: 'deploy/helm/values.yaml', says: 'preStopSeconds: 30' },
  drainDelay: { value: 20, source: 'deploy/helm/values.yaml', says: 'drainDelay: 20' },
  drainGrace: { value: 60, source: 'deploy/helm/values.yaml', says: 'drainGrace: 60' },
});

/** Their values. */
export const VALUES = valuesOf(FIGURES);
