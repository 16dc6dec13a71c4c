/** The clients of a simulated server: each does random operations on its sessions, one after the other or at once. */
import { getEventListeners } from 'node:events';
import { echoDaemon } from '../../gen/calls/appliance.js';
import { sync } from '../../gen/calls/filesystem.js';
import { yaraLoad } from '../../gen/calls/forensics.js';
import { download, upload } from '../../gen/calls/transfer.js';
import { GuestfsError, messageOf } from '../../src/common/errors.js';
import { abortController, linkedAbort } from '../../src/common/waiting.js';
import type { Drive } from '../../src/images/drive.js';
import type { DaemonCall } from '../../src/protocol/daemonCall.js';
import { beating } from '../../src/server/heartbeat.js';
import { RequestReader, whileHeld } from '../../src/server/requestReader.js';
import type { Daemon } from '../../src/session/daemon.js';
import type { Session } from '../../src/session/session.js';
import type { SessionState } from '../../src/session/stateMachine.js';
import type { SessionRegistry } from '../../src/session/sessionRegistry.js';
import { action, drive } from '../fakes/sessions.js';
import { contentOf, summary } from './contents.js';
import type { SimulatedServer } from './server.js';
import type { World } from './world.js';

/** Longest time between two operations of a client, milliseconds. */
const PAUSE_MS = 20_000;
const LONG_PAUSE_MS = 150_000;
/** A caller whose call was cancelled is answered within this time, milliseconds. */
const ANSWER_MS = 1000;
/** An appliance is killed, and everything released, within this time, milliseconds. */
const KILL_MS = 2500;
const LARGEST_FILE = 200_000;
const LARGE_REQUEST = 100_000;
const STALL_MS = 30_000;
/** Longer than any heartbeat takes. */
const SILENCE_MS = 20_001;
/** What a client does, and how often: the larger, the more often. */
const OPERATIONS = {
  create: 2,
  addDrive: 3,
  launch: 7,
  echo: 14,
  burst: 2,
  flood: 1,
  sync: 6,
  upload: 5,
  download: 5,
  yaraLoad: 2,
  outOfTurn: 2,
  attachDrive: 3,
  removeDrive: 2,
  cancelTransfer: 2,
  subscribe: 2,
  request: 3,
  kill: 2,
  shutdown: 3,
  delete: 2,
  deleteByForce: 1,
} as const;

/** The state of sessions in which an operation is usually tried; READY for the others. */
const LIKELY_STATES: Readonly<Record<string, SessionState>> = { addDrive: 'CONFIG', launch: 'CONFIG' };

type OperationName = keyof typeof OPERATIONS;

const BAG = (Object.keys(OPERATIONS) as OperationName[]).flatMap((name) =>
  Array.from({ length: OPERATIONS[name] }, () => name),
);

export class Client {
  readonly #registry: SessionRegistry;
  /** Its connection: calls are cancelled with it. */
  readonly #connection = abortController();
  readonly #running = new Set<Promise<void>>();
  #images = 0;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    readonly name: string,
  ) {
    this.#registry = server.registry;
  }

  /** Does this many operations. */
  async work(count: number): Promise<void> {
    const { random } = this.world;
    if (random.once(2)) await this.server.prepared;
    for (const name of ['create', 'launch', 'echo'] as const) {
      this.#begin(name);
      await this.world.sleep(100 + this.world.duration(5000));
    }
    const pauseMs = random.once(4) ? LONG_PAUSE_MS : PAUSE_MS;
    for (let done = 0; done < count; done += 1) {
      await this.world.sleep(this.world.duration(pauseMs));
      this.#begin(random.of(BAG));
    }
  }

  /** Disconnects. */
  disconnect(): void {
    this.world.note(`${this.name} disconnects`);
    this.#connection.abort(new GuestfsError('CANCELLED', 'the client has disconnected'));
  }

  /** Resolves when all its operations have ended. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    const left = getEventListeners(this.#connection.signal, 'abort').length;
    if (left > 0) this.world.violate(`${left} listeners of calls that have ended are left on a connection`);
  }

  #begin(name: OperationName): void {
    const { random } = this.world;
    const sessions = this.#registry.list(undefined);
    const likely = random.once(6)
      ? sessions
      : sessions.filter(({ state }) => state === (LIKELY_STATES[name] ?? 'READY'));
    const session = sessions.length === 0 ? undefined : random.of(likely.length === 0 ? sessions : likely);
    if (session === undefined) return name === 'launch' ? undefined : this.#do('create', () => this.#create());
    const { id } = session;
    switch (name) {
      case 'create':
        return this.#do('create', () => this.#create());
      case 'addDrive':
        return this.#do(`addDrive ${id}`, async () => session.addDrive(this.#drive(), 'add_drive'));
      case 'launch':
        return this.#do(`launch ${id}`, () => this.#cancellable((signal) => session.launch(signal)));
      case 'echo':
        return this.#do(`echo ${id}`, () => this.#echo(session));
      case 'burst':
        for (let count = 2 + random.below(5); count > 0; count -= 1) this.#do(`echo ${id}`, () => this.#echo(session));
        return;
      case 'flood':
        if (random.once(8))
          for (let count = 140; count > 0; count -= 1) this.#do(`echo ${id}`, () => this.#echo(session));
        return;
      case 'sync':
        return this.#do(`sync ${id}`, () => this.#sync(session));
      case 'upload':
        return this.#do(`upload ${id}`, () => this.#upload(session, upload, false));
      case 'yaraLoad':
        return this.#do(`yaraLoad ${id}`, () => this.#upload(session, yaraLoad, true));
      case 'download':
        return this.#do(`download ${id}`, () => this.#download(session));
      case 'outOfTurn':
        return this.#do(`outOfTurn ${id}`, () =>
          session.performOutOfTurn(action('get_program'), {}, () => this.world.sleep(this.world.duration(5000))),
        );
      case 'attachDrive':
        return this.#do(`attachDrive ${id}`, () =>
          this.#cancellable((signal) => session.attachDrive(this.#drive(), 'add_drive', signal)),
        );
      case 'removeDrive':
        return this.#do(`removeDrive ${id}`, () =>
          this.#cancellable((signal) =>
            session.removeDrive(
              random.of(['none', ...session.drives.map(({ label }) => label ?? '')]),
              'remove_drive',
              signal,
            ),
          ),
        );
      case 'cancelTransfer':
        return this.#do(`cancelTransfer ${id}`, async () => session.cancelTransfer());
      case 'subscribe':
        return this.#do(`subscribe ${id}`, () => this.#subscribe(session));
      case 'request':
        return this.#do(`request ${id}`, () => this.#request(session));
      case 'kill':
        return this.#do(`kill ${id}`, () => this.#soon(() => session.kill()));
      case 'shutdown':
        return this.#do(`shutdown ${id}`, () => this.#end(session, () => session.shutdown()));
      case 'delete':
        return this.#do(`delete ${id}`, () => this.#end(session, () => this.#registry.delete(session)));
      case 'deleteByForce':
        return this.#do(`deleteByForce ${id}`, () => this.#soon(() => this.#registry.deleteByForce(session)));
    }
  }

  /** Runs an operation, and notes how it ends. */
  #do(what: string, body: () => Promise<void>): void {
    const { world } = this;
    const number = world.next();
    const label = `${this.name} ${number} ${what}`;
    world.operations += 1;
    world.note(label);
    const ended = this.server.pending(label);
    const one = (async () => {
      try {
        await body();
        world.note(`${label}: OK`);
      } catch (error) {
        const { reason, message } = GuestfsError.from(error);
        world.note(`${label}: ${reason} ${message.slice(0, 200)}`);
        if (reason === 'INTERNAL' && !isOfHost(error))
          world.violate(`${label} ends with a defect: ${messageOf(error)}`);
      }
      ended();
    })();
    this.#running.add(one);
    void one.then(() => this.#running.delete(one));
  }

  /** Runs work that the client may give up. */
  async #cancellable<Value>(work: (signal: AbortSignal) => Promise<Value>, promptly = false): Promise<Value> {
    const { world } = this;
    const call = linkedAbort([this.#connection.signal]);
    let givenUpAt = Infinity;
    call.signal.addEventListener('abort', () => (givenUpAt = world.time.now), { once: true });
    const stop = world.happens('client gives up')
      ? world.later(world.duration(30_000), () => call.abort(new GuestfsError('CANCELLED', 'the client gives up')))
      : () => undefined;
    try {
      return await work(call.signal);
    } finally {
      stop();
      call.release();
      if (promptly && world.time.now > givenUpAt + ANSWER_MS)
        world.violate(`a call was answered ${world.time.now - givenUpAt} ms after it was cancelled`);
    }
  }

  /** Runs a call of the daemon in its turn, which the client may give up. */
  async #perform<Value>(
    session: Session,
    name: string,
    request: object,
    body: (daemon: Daemon) => Promise<Value>,
  ): Promise<Value> {
    const { world } = this;
    let running = false;
    return this.#cancellable(async (signal) => {
      const limit = this.server.abandonedMs(session);
      signal.addEventListener('abort', () => {
        world.later(limit + ANSWER_MS, () => {
          if (running) world.violate(`a call of ${session.id} goes on ${limit} ms after its client has given up`);
        });
      });
      return session.perform(action(name), request, signal, async (daemon) => {
        running = true;
        try {
          return await body(daemon);
        } finally {
          running = false;
        }
      });
    }, true);
  }

  #drive(): Drive {
    const { random } = this.world;
    this.#images += 1;
    const path = `/images/${this.name}-${this.world.next()}`;
    this.world.images.add(path);
    return {
      ...drive,
      source: random.once(4)
        ? { kind: 'scratch', size: 1n << 20n }
        : { kind: 'file', path, name: path, roots: { directories: ['/images'] } },
      readonly: random.once(3),
      label: `label${this.#images}`,
    };
  }

  async #create(): Promise<void> {
    const { random } = this.world;
    await this.world.sleep(random.below(50));
    const id = random.once(10) ? 'same' : `s${this.world.next()}`;
    const session = this.server.create(id, this.name);
    if (!random.once(10)) session.addDrive(this.#drive(), 'add_drive');
  }

  async #echo(session: Session): Promise<void> {
    const words = [`word${this.world.next()}`, 'x'.repeat(this.world.duration(2000))];
    const expected = words.join(' ');
    const { output } = await this.#perform(session, 'echo_daemon', { words }, (daemon) =>
      daemon.call(echoDaemon, { words }),
    );
    if (output !== expected) this.world.violate(`echo answers ${output} and not ${expected}`);
    if (!this.world.answered.has(expected)) this.world.violate(`${expected} was acknowledged, but never answered`);
  }

  async #sync(session: Session): Promise<void> {
    const before = new Map([...this.world.qemus].map(([pid, { guest }]) => [pid, guest.syncs]));
    let lost = false;
    let pid = 0;
    await this.#perform(session, 'sync', {}, async (daemon) => {
      pid = session.machine?.pid ?? 0;
      await daemon.call(sync, {});
      lost = this.world.qemus.get(pid)?.lostWrites === true;
    });
    if (lost) this.world.violate('sync was acknowledged after writes had failed');
    if ((this.world.qemus.get(pid)?.guest.syncs ?? 0) <= (before.get(pid) ?? 0))
      this.world.violate('sync was acknowledged, but never answered');
  }

  async #upload<Request>(session: Session, call: DaemonCall<Request, unknown>, yara: boolean): Promise<void> {
    const { world } = this;
    const name = this.#fileName();
    const data = contentOf(name);
    const stalls = world.happens('client stops sending');
    const source = async function* (): AsyncGenerator<Buffer> {
      const size = 1 + world.duration(70_000);
      for (let start = 0; start < data.length; start += size) {
        if (world.random.once(5)) await world.sleep(world.duration(1000));
        if (stalls && world.random.once(3)) {
          if (world.random.once(2)) throw new GuestfsError('UPLOAD_INCOMPLETE', 'the client stops');
          await new Promise(() => undefined);
        }
        yield data.subarray(start, start + size);
      }
    };
    await this.#perform(session, call.action, {}, (daemon) =>
      daemon.upload(call, { remotefilename: name } as Request, source()),
    );
    const received = world.answered.get(yara ? `rules of ${summary(data)}` : name);
    if (received !== summary(data))
      world.violate(`an upload of ${summary(data)} was acknowledged, but the daemon has ${received ?? 'none'}`);
  }

  async #download(session: Session): Promise<void> {
    const { world } = this;
    const name = this.#fileName();
    const parts: Buffer[] = [];
    const fails = world.happens('client gives up');
    await this.#perform(session, 'download', {}, (daemon) =>
      daemon.download(download, { remotefilename: name }, async (pieces) => {
        if (world.random.once(6)) await world.sleep(world.duration(2000));
        if (fails && world.random.once(2)) throw new GuestfsError('CANCELLED', 'the client takes no more');
        parts.push(...pieces.map((piece) => Buffer.from(piece)));
      }),
    );
    const [got, whole] = [summary(Buffer.concat(parts)), summary(contentOf(name))];
    if (got !== whole) world.violate(`a download of ${whole} was complete with ${got}`);
    if (!world.answered.has(name)) world.violate('a download was complete that the daemon did not end');
  }

  #fileName(): string {
    const { random } = this.world;
    const size = random.once(6) ? 0 : random.once(4) ? random.below(LARGEST_FILE) : this.world.duration(LARGEST_FILE);
    return `${size}.${this.world.next()}`;
  }

  /** Ends an appliance in order. What was written is then in the images, or it fails. */
  async #end(session: Session, end: () => Promise<void>): Promise<void> {
    const qemu = session.state === 'READY' ? this.world.qemus.get(session.machine?.pid ?? 0) : undefined;
    const before = qemu?.guest.syncs ?? 0;
    const written = session.drives.some(({ readonly, source }) => !readonly && source.kind !== 'scratch');
    await end();
    if (qemu === undefined) return;
    if (session.settings.autosync && qemu.guest.syncs === before)
      this.world.violate(`${session.id} has ended with success, but its daemon did not sync`);
    if (written && qemu.exit?.exitCode !== 0)
      this.world.violate(`${session.id} has ended with success, but not its qemu`);
  }

  /** Does what takes no longer than it takes to kill a qemu that does not react, and to clean up after it. */
  async #soon(work: () => Promise<void>): Promise<void> {
    const { world } = this;
    const began = world.time.now;
    await work();
    const took = world.time.now - began;
    if (took > KILL_MS && !world.faults.chosen.includes('the host is slow'))
      world.violate(`it took ${took} ms to kill an appliance`);
  }

  /** Follows the events of a session for a while. */
  async #subscribe(session: Session): Promise<void> {
    const { world } = this;
    const subscription = session.events.subscribe([]);
    let last = world.time.now;
    const written = (): void => {
      if (world.time.now - last > SILENCE_MS)
        world.violate(`a stream of events was silent for ${world.time.now - last} ms`);
      last = world.time.now;
    };
    const writer = beating({ write: async () => written() }, () => ({}));
    const stop = world.later(world.duration(200_000), () => subscription.end());
    try {
      for await (const _event of subscription) {
        if (world.random.once(10)) await world.sleep(world.duration(2000));
        await writer.write({});
      }
    } finally {
      stop();
      writer.stop();
    }
  }

  /** Sends a large request, whose memory is accounted for while it arrives and is used. */
  async #request(session: Session): Promise<void> {
    const { world } = this;
    const { memory, largeMemory } = this.server;
    let refused: (error: GuestfsError) => void = () => undefined;
    const stalled = new Promise<never>((_resolve, reject) => (refused = reject));
    stalled.catch(() => undefined);
    const reader = new RequestReader({
      ...{ action: 'write', client: () => this.name, largest: 1 << 20, memory, ordinary: 1 << 17, largeMemory },
      ...{ stallMs: STALL_MS, onStall: refused, admit: () => this.#registry.refuseWhileDraining() },
    });
    try {
      const size = world.duration(LARGE_REQUEST);
      const message = Buffer.alloc(5 + size);
      message.writeUInt32BE(size, 1);
      const stops = world.happens('client stops sending');
      reader.awaitData();
      for (let start = 0; start < message.length; start += 40_000) {
        reader.write(message.subarray(start, start + 40_000));
        if (stops) await stalled;
        await world.sleep(world.duration(2000));
      }
      reader.dataCame();
      const request = {};
      reader.decoded(request);
      await whileHeld(request, () => this.#echo(session));
    } finally {
      reader.close();
    }
  }
}

/** Whether an error is one of the host's files, which has no reason of its own. */
function isOfHost(error: unknown): boolean {
  return error instanceof Error && ((error as NodeJS.ErrnoException).code !== undefined || isOfHost(error.cause));
}
