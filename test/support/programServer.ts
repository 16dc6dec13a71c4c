/** Servers of test programs, which run outside Jest: a signal ends them with the program. */
import { startTestServer, type TestServer, type TestServerOptions } from './testServer.js';

const servers = new Set<TestServer>();

/** Ends the program, and all its servers, when it is asked to end. */
export function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  process.once('exit', () => {
    // Their qemus end with them.
    for (const { process: server } of servers) server.kill('SIGKILL');
  });
}

/** Starts a server, as {@link startTestServer}. */
export async function startProgramServer(options: TestServerOptions): Promise<TestServer> {
  const server = await startTestServer(options);
  servers.add(server);
  server.process.once('exit', () => servers.delete(server));
  return server;
}

/** Lines of a log that explain a failure. */
const LOG_LINES = 40;

/** The end of a server's log, for a failure that nobody expected. */
export function endOfLog({ log }: Pick<TestServer, 'log'>): string {
  return `the server's log ends with:\n${log().trimEnd().split('\n').slice(-LOG_LINES).join('\n')}`;
}
