/** A daemon with scripted answers, and contexts for library-side actions. */
import { allActions } from '../../../src/actions/areas.js';
import { NO_QUOTA } from '../../../src/images/diskQuota.js';
import type { LibraryContext } from '../../../src/library/context.js';
import type { Machine } from '../../../src/launcher/launcher.js';
import type { DaemonCall } from '../../../src/protocol/daemonCall.js';
import { NothingMoreComes } from '../../../src/protocol/fileTransfer.js';
import { DaemonVersion } from '../../../src/protocol/daemonVersion.js';
import type { Daemon } from '../../../src/session/daemon.js';
import { Session } from '../../../src/session/session.js';
import type { SessionSettings } from '../../../src/session/settings.js';
import { createLogger } from '../../../src/common/logger.js';

/** An answer of a scripted daemon: a value, a function of the request, or an error to throw. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests know their requests
type Answer = object | ((request: any) => object);

export interface Script {
  readonly version?: string;
  /** By action. */
  readonly answers?: Readonly<Record<string, Answer>>;
  /** Files of FileOut actions, in the pieces they are sent in; or the error instead of one. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests know their requests
  readonly files?: Readonly<Record<string, (request: any) => Iterable<Buffer> | AsyncIterable<Buffer>>>;
}

export interface Sent {
  readonly action: string;
  readonly request: object;
  /** Of an upload. */
  readonly content?: Buffer;
  readonly size?: bigint | undefined;
}

export class FakeDaemon implements Daemon {
  readonly version: DaemonVersion;
  /** The calls made, in order. */
  readonly sent: Sent[] = [];
  /** Pieces that were delivered. */
  delivered = 0;
  /** How the last download ended on the daemon's side. */
  downloadEnded: 'complete' | 'cancelled' | undefined;
  readonly #script: Script;

  constructor(script: Script) {
    this.#script = script;
    this.version = new DaemonVersion(script.version ?? '1.54.1');
  }

  get actions(): string[] {
    return this.sent.map((one) => one.action);
  }

  #answer(action: string, request: object): object {
    const answer = this.#script.answers?.[action];
    if (answer === undefined) throw new Error(`${action} was not expected`);
    const value = typeof answer === 'function' ? (answer as (request: object) => object)(request) : answer;
    if (value instanceof Error) throw value;
    return value;
  }

  async call<Request, Response>(call: DaemonCall<Request, Response>, request: Request): Promise<Response> {
    this.sent.push({ action: call.action, request: request as object });
    await Promise.resolve();
    return this.#answer(call.action, request as object) as Response;
  }

  async upload<Request, Response>(
    call: DaemonCall<Request, Response>,
    request: Request,
    source: AsyncIterable<Buffer>,
    size?: bigint,
  ): Promise<Response> {
    const pieces: Buffer[] = [];
    for await (const piece of source) pieces.push(piece);
    this.sent.push({ action: call.action, request: request as object, content: Buffer.concat(pieces), size });
    return this.#answer(call.action, request as object) as Response;
  }

  async download<Request>(
    call: DaemonCall<Request, unknown>,
    request: Request,
    deliver: (pieces: readonly Buffer[]) => Promise<void>,
  ): Promise<void> {
    this.sent.push({ action: call.action, request: request as object });
    const file = this.#script.files?.[call.action];
    if (file === undefined) throw new Error(`${call.action} was not expected`);
    for await (const piece of file(request)) {
      try {
        this.delivered += 1;
        await deliver([piece]);
      } catch (error) {
        if (error instanceof NothingMoreComes) throw error.failure;
        this.downloadEnded = 'cancelled';
        // Like the real one: the rest is drained before the call ends.
        await new Promise((resolve) => setImmediate(resolve));
        throw error;
      }
    }
    this.downloadEnded = 'complete';
  }
}

/** A server's default settings. */
export function settings(): SessionSettings {
  return {
    memsizeMb: 1280,
    smp: 1,
    network: false,
    verbose: false,
    trace: false,
    autosync: true,
    selinux: false,
    pgroup: false,
    recoveryProc: true,
    direct: false,
    identifier: '',
    program: 'guestfs-grpc',
    append: undefined,
    path: '/appliance',
    hv: undefined,
    tmpdir: '/tmp',
    cachedir: '/var/tmp',
    backend: 'direct',
    backendSettings: [],
    accelerator: 'auto',
    launchTimeoutMs: 1000,
    extraQemuArguments: [],
  };
}

/** A session that cannot be launched. */
export function makeSession(): Session {
  return new Session({
    id: 'test',
    settings: settings(),
    labels: new Map(),
    owner: undefined,
    idleTimeoutMs: undefined,
    logger: createLogger('error', () => undefined),
    launcher: {
      launch: (): Promise<Machine> => {
        throw new Error('not here');
      },
    },
  });
}

function common(name: string): Omit<LibraryContext, 'daemon'> {
  const action = allActions.find((one) => one.name === name);
  if (action === undefined) throw new Error(`no action ${name}`);
  return {
    action,
    session: makeSession(),
    signal: new AbortController().signal,
    requestId: undefined,
    disk: NO_QUOTA,
    imageRoots: { directories: [] },
    requireFound: () => undefined,
    probe: () => Promise.reject(new Error('not here')),
  };
}

/** The context of an action that runs in its turn. */
export function inTurn(
  name: string,
  script: Script,
  more: Partial<Omit<LibraryContext, 'daemon'>> = {},
): LibraryContext & { readonly daemon: FakeDaemon } {
  return { ...common(name), ...more, daemon: new FakeDaemon(script) };
}

/** The context of an action that runs out of turn, without a daemon. */
export function aside(name: string, more: Partial<Omit<LibraryContext, 'daemon'>> = {}): LibraryContext {
  return {
    ...common(name),
    ...more,
    get daemon(): Daemon {
      throw new Error(`${name} has no turn`);
    },
  };
}

/** All items of an iterable. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** The lines of a text, one at a time. */
export async function* fromLines(text: string): AsyncGenerator<string[]> {
  await Promise.resolve();
  yield* text
    .split('\n')
    .slice(0, -1)
    .map((line) => [line]);
}
