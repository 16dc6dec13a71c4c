/** The fixture of nearly every integration test: a server, a client, sessions, and a check that nothing is left behind. */
import { afterAll, beforeAll, expect, jest } from '@jest/globals';
import type { DriveSpec, SessionSettings } from '../../gen/proto/guestfs/v1/session.js';
import { SessionClient, TestClient } from './testClient.js';
import { CLEAN_END, startTestServer, type TestServer, type TestServerOptions } from './testServer.js';

// A launch alone takes half a minute on a busy host without KVM.
jest.setTimeout(180_000);

export interface Scene {
  readonly server: TestServer;
  readonly client: TestClient;
}

/**
 * A server for the tests of a `describe`, started before and stopped after them; fails them if
 * it does not exit cleanly, or leaves a process or a file behind.
 */
export function serverForTests(options: TestServerOptions | (() => TestServerOptions) = {}): Scene {
  let scene: Scene | undefined;
  const current = (): Scene => {
    if (scene === undefined) throw new Error('the server was not started');
    return scene;
  };
  beforeAll(async () => {
    const server = await startTestServer(typeof options === 'function' ? options() : options);
    scene = { server, client: new TestClient(server.address) };
  });
  afterAll(async () => {
    const { server, client } = current();
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });
  return {
    get server() {
      return current().server;
    },
    get client() {
      return current().client;
    },
  };
}

/** Settings with defaults for the omitted ones. */
export function settings(given: Partial<SessionSettings> = {}): SessionSettings {
  const unset = {
    memsize: undefined,
    smp: undefined,
    network: undefined,
    verbose: undefined,
    trace: undefined,
    autosync: undefined,
    launch_timeout: undefined,
  };
  return { ...unset, ...given };
}

/** Creates and launches a session. */
export async function launchSession(
  client: TestClient,
  drives: DriveSpec[],
  given: Partial<SessionSettings> = {},
): Promise<SessionClient> {
  const { id } = await client.createSession({ drives, launch: true, settings: settings(given) });
  return new SessionClient(client, id);
}
