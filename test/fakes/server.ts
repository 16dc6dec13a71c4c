/** A real server in this process, on a fake launcher, with a session in each state that accepts calls. */
import { credentials, ServerCredentials } from '@grpc/grpc-js';
import type { CallableState } from '../../src/actions/callRules.js';
import { silentLogger, type Logger } from '../../src/common/logger.js';
import type { ForeignImageProbe } from '../../src/images/foreignProbe.js';
import { sameForAll } from '../../src/security/access.js';
import type { Allowable } from '../../src/security/policy.js';
import { DEFAULT_LIMITS, type ServerLimits } from '../../src/server/limits.js';
import { serve } from '../../src/server/server.js';
import { SessionFactory } from '../../src/server/sessionFactory.js';
import type { ClientBudget } from '../../src/session/clientBudget.js';
import type { SettingLimits } from '../../src/session/settingLimits.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { SessionClient, TestClient } from '../support/testClient.js';
import { FakeLauncher, FakeMachine } from './fakeLauncher.js';
import { defaultSettings } from './sessions.js';

export interface FakeServerOptions {
  readonly allowed: readonly Allowable[];
  readonly debugService: boolean;
  readonly logger?: Logger;
  /** Undefined: none. */
  readonly limits?: SettingLimits;
  readonly maxAgeMs?: number;
  readonly serverLimits?: Partial<ServerLimits>;
  readonly budget?: ClientBudget;
  readonly imageRoots?: readonly string[];
  readonly probe?: ForeignImageProbe;
}

export interface FakeServer {
  /** The address it listens on, host:port. */
  readonly address: string;
  readonly client: TestClient;
  readonly registry: SessionRegistry;
  /** A session in each state. */
  readonly sessions: Readonly<Record<CallableState, SessionClient>>;
  /** The machine of the session that is READY. */
  readonly machine: FakeMachine;
  stop(): Promise<void>;
}

const SCRATCH = { source: { $case: 'scratch_size', value: 1n << 20n }, writable: true } as const;
const drive = {
  ...SCRATCH,
  format: undefined,
  label: undefined,
  cachemode: undefined,
  discard: undefined,
  blocksize: undefined,
  backing_formats: [],
};

export async function startFakeServer({
  allowed,
  debugService,
  logger = silentLogger,
  limits,
  maxAgeMs,
  serverLimits,
  budget,
  imageRoots = [],
  probe = () => Promise.reject(new Error('there are no images here')),
}: FakeServerOptions): Promise<FakeServer> {
  const launcher = new FakeLauncher();
  const registry = new SessionRegistry(100, logger, budget);
  const factory = new SessionFactory({
    defaults: { ...defaultSettings, ...(limits === undefined ? {} : { limits }) },
    maxAgeMs,
    defaultIdleTimeoutMs: undefined,
    launcher,
    logger,
  });
  const server = await serve({
    listen: '127.0.0.1:0',
    socketMode: 0o600,
    credentials: ServerCredentials.createInsecure(),
    identify: async () => undefined,
    registry,
    factory,
    access: sameForAll({ imageRoots: { directories: imageRoots }, allowed: new Set(allowed) }),
    probe,
    debugService,
    requestMemory: 64 << 20,
    limits: { ...DEFAULT_LIMITS, ...serverLimits },
    logger,
  });
  const client = new TestClient(server.address, credentials.createInsecure());
  const session = async (id: CallableState): Promise<SessionClient> => {
    await client.createSession({ session_id: id, drives: [drive] });
    return new SessionClient(client, id);
  };
  const sessions = {
    CONFIG: await session('CONFIG'),
    LAUNCHING: await session('LAUNCHING'),
    READY: await session('READY'),
    STOPPING: await session('STOPPING'),
  };
  const launchOf = async (one: SessionClient, number: number): Promise<FakeMachine> => {
    const machine = new FakeMachine('1.61.9');
    const ready = one.call('launch');
    (await launcher.request(number)).succeed(machine);
    await machine.daemon.launch();
    await ready;
    return machine;
  };
  const machine = await launchOf(sessions.READY, 0);
  const stoppingMachine = await launchOf(sessions.STOPPING, 1);
  const stopping = sessions.STOPPING.call('shutdown').catch(() => undefined);
  await stoppingMachine.daemon.nextCall(); // the sync, which is not answered
  const launching = sessions.LAUNCHING.call('launch').catch(() => undefined);
  const pending = await launcher.request(2);
  return {
    address: server.address,
    client,
    registry,
    sessions,
    machine,
    stop: async () => {
      pending.fail(new Error('the test is over'));
      await launching;
      // Their daemons would not answer the sync.
      const syncing = [sessions.STOPPING.id, sessions.READY.id];
      for (const session of registry.list(undefined)) if (syncing.includes(session.id)) await session.kill();
      await stopping;
      await server.stop();
      client.close();
    },
  };
}
