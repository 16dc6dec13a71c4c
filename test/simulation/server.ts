/** A simulated server: the real registry, sessions and launcher, on a simulated host. */
import type { Logger, LogFields } from '../../src/common/logger.js';
import { createTemplateLauncher, type TemplateLauncher } from '../../src/launcher/templateLauncher.js';
import type { QemuUsers } from '../../src/qemu/qemuUsers.js';
import { abortController } from '../../src/common/waiting.js';
import { RequestMemory } from '../../src/server/requestMemory.js';
import type { ClientBudget } from '../../src/session/clientBudget.js';
import { ABANDONED_MS, Session } from '../../src/session/session.js';
import { SessionRegistry } from '../../src/session/sessionRegistry.js';
import type { SessionSettings } from '../../src/session/settings.js';
import { messageOf } from '../../src/common/errors.js';
import { defaultSettings } from '../fakes/sessions.js';
import { QEMU, simulatedPreflight } from './appliances.js';
import { systemError } from './hostFiles.js';
import { SessionWatcher } from './sessionWatcher.js';
import type { World } from './world.js';

/** Sessions whose time is over are looked for this often. */
const SWEEP_MS = 1100;
/** A launch that is ended, or timed out, is over within this time. */
const LAUNCH_END_MS = 4000;
const REQUEST_MEMORY = 250_000;

/** A logger whose lines are part of the trace. */
function tracingLogger(world: World, about = ''): Logger {
  const log =
    (level: string) =>
    (message: string, { err, reason, session }: LogFields = {}): void => {
      const why = [
        session,
        typeof reason === 'string' ? reason : undefined,
        err === undefined ? undefined : messageOf(err),
      ];
      world.note(`${level}${about}: ${message} ${why.filter((one) => one !== undefined).join(', ')}`.slice(0, 300));
    };
  return {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: ({ session }) => tracingLogger(world, ` ${String(session)}`),
  };
}

function simulatedUsers(world: World): QemuUsers {
  return {
    acquire: async () => {
      await world.hostWorks();
      if (world.happens('the host fails')) throw systemError('EMFILE', 'socket');
      const released = world.opened('user');
      const uid = world.next();
      return { uid, gid: uid, release: async () => released() };
    },
  };
}

export class SimulatedServer {
  readonly registry: SessionRegistry;
  readonly launcher: TemplateLauncher;
  readonly memory = new RequestMemory(REQUEST_MEMORY);
  readonly largeMemory = new RequestMemory(REQUEST_MEMORY);
  readonly sessions: Session[] = [];
  readonly watchers: SessionWatcher[] = [];
  /** Resolves when templates have been made, or not. */
  readonly prepared: Promise<void> = Promise.resolve();
  readonly limit: number;
  readonly budget: ClientBudget;
  readonly #settings: SessionSettings;
  readonly #logger: Logger;
  readonly #unresponsiveMs: number | undefined;
  readonly #abandonedMs: number | undefined;
  /** The last qemu of each session that was READY. */
  readonly #lastQemus = new Map<Session, number>();
  readonly #pending = new Set<string>();

  constructor(private readonly world: World) {
    const { random } = world;
    this.#logger = tracingLogger(world);
    this.limit = 1 + random.below(5);
    this.budget = {
      sessions: random.once(2) ? undefined : 1 + random.below(3),
      memsizeMb: random.once(2) ? undefined : 512 * (1 + random.below(3)),
      smp: random.once(2) ? undefined : 1 + random.below(3),
      drives: random.once(2) ? undefined : 1 + random.below(4),
    };
    this.#unresponsiveMs = random.once(3) ? undefined : random.of([20_000, 60_000]);
    this.#abandonedMs = random.once(2) ? 30_000 : undefined;
    this.#settings = {
      ...defaultSettings,
      hv: QEMU,
      cachedir: '/cache',
      tmpdir: '/tmp',
      accelerator: 'tcg',
      autosync: !random.once(6),
      launchTimeoutMs: random.of([5000, 60_000, 180_000]),
    };
    const daemonVersion = random.once(5) ? undefined : '1.54.1';
    const { memsizeMb, smp, network, selinux, verbose, append, accelerator } = this.#settings;
    const request = {
      ...{ memsizeMb, smp, network, selinux, verbose, append, accelerator },
      ...{ qemuBinary: QEMU, appliancePath: '/appliance', temporaryDirectory: '/tmp', cacheDirectory: '/cache' },
    };
    this.launcher = createTemplateLauncher({
      logger: this.#logger,
      users: simulatedUsers(world),
      preflight: simulatedPreflight(world, daemonVersion),
      ...(random.once(2) ? {} : { pool: { size: 1 + random.below(2), request } }),
    });
    this.registry = new SessionRegistry(this.limit, this.#logger, this.budget);
    if (random.once(3)) return;
    const ended = this.pending('prepare');
    this.prepared = this.launcher
      .prepare(request, abortController().signal)
      .then(
        (none) => world.note(`prepared: ${none?.reason ?? 'OK'}`),
        (error: unknown) => world.note(`prepared: ${messageOf(error)}`),
      )
      .finally(ended);
  }

  /** Notes that something has begun; the returned function must be called when it has ended. */
  pending(what: string): () => void {
    this.#pending.add(what);
    return () => {
      if (!this.#pending.delete(what)) this.world.violate(`${what} ends twice`);
    };
  }

  /** What has begun and not ended. */
  get unfinished(): readonly string[] {
    return [...this.#pending];
  }

  /** Creates a session. @throws GuestfsError as {@link SessionRegistry.add} */
  create(id: string, client: string): Session {
    const { random } = this.world;
    return this.registry.add(id, { identity: undefined, client }, () => {
      const session = new Session({
        id,
        client,
        settings: { ...this.#settings, ...(random.once(6) ? { memsizeMb: 768 } : {}), verbose: random.once(4) },
        launcher: this.launcher,
        logger: this.#logger,
        labels: new Map(),
        owner: undefined,
        idleTimeoutMs: random.once(2) ? undefined : random.of([10_000, 60_000]),
        maxAgeMs: random.once(4) ? 120_000 : undefined,
        abandonedMs: this.#abandonedMs,
        unresponsiveMs: this.#unresponsiveMs,
      });
      this.sessions.push(session);
      this.watchers.push(new SessionWatcher(this.world, session));
      return session;
    });
  }

  /** How long a call goes on after its client has given up, milliseconds. */
  abandonedMs({ idleTimeoutMs }: Session): number {
    return Math.min(this.#abandonedMs ?? ABANDONED_MS, idleTimeoutMs ?? Infinity);
  }

  /** No session waits longer than it may for a client, a launch or a qemu. */
  #checkTimes(session: Session, { stateSince }: SessionWatcher): void {
    const { world } = this;
    const { id, state, expireTime, machine } = session;
    const over = expireTime === undefined ? 0 : Date.now() - expireTime.getTime();
    // Sessions in other states do not expire.
    if (Math.min(over, world.time.now - stateSince) > SWEEP_MS)
      world.violate(`${id} has not ended, although its time is over`);
    const { launchTimeoutMs } = this.#settings;
    const slow = world.faults.chosen.includes('the host is slow');
    if (state === 'LAUNCHING' && !slow && world.time.now > stateSince + launchTimeoutMs + LAUNCH_END_MS)
      world.violate(`the launch of ${id} has not ended after ${launchTimeoutMs} ms`);
    const stoppedAt = world.qemus.get(machine?.pid ?? 0)?.stoppedAt;
    if (state !== 'READY' || stoppedAt === undefined || this.#unresponsiveMs === undefined) return;
    if (world.time.now > Math.max(stoppedAt, stateSince) + this.#unresponsiveMs + SWEEP_MS)
      world.violate(`${id} is READY, although its qemu has not answered for ${world.time.now - stoppedAt} ms`);
  }

  /** Whether a session has a qemu, which it may no longer know. */
  #isRunning(session: Session): boolean {
    const pid = session.machine?.pid;
    if (pid !== undefined) this.#lastQemus.set(session, pid);
    const known = this.world.qemus.get(this.#lastQemus.get(session) ?? 0);
    if (known !== undefined && known.exit === undefined) return true;
    const name = `guestfs-${session.id}`;
    return [...this.world.qemus.values()].some((qemu) => qemu.name === name && qemu.exit === undefined);
  }

  /** Limits hold at any time. */
  check(): void {
    for (const watcher of this.watchers) {
      if (watcher.session.state === 'CLOSED') continue;
      watcher.look();
      this.#checkTimes(watcher.session, watcher);
    }
    if (this.registry.size > this.limit)
      this.world.violate(`${this.registry.size} sessions; the limit is ${this.limit}`);
    const clients = new Map<string, Session[]>();
    for (const session of this.registry.list(undefined))
      clients.set(session.client, [...(clients.get(session.client) ?? []), session]);
    for (const [client, sessions] of clients) {
      const uses = { sessions: sessions.length, memsizeMb: 0, smp: 0, drives: 0 };
      let runningMb = 0;
      for (const session of sessions) {
        const { resources } = session;
        if (this.#isRunning(session)) runningMb += session.settings.memsizeMb;
        uses.memsizeMb += resources?.memsizeMb ?? 0;
        uses.smp += resources?.smp ?? 0;
        uses.drives += resources?.drives ?? 0;
      }
      if (runningMb > (this.budget.memsizeMb ?? Infinity))
        this.world.violate(
          `the qemus of ${client} have ${runningMb} MiB; the limit is ${String(this.budget.memsizeMb)}`,
        );
      for (const key of ['sessions', 'memsizeMb', 'smp', 'drives'] as const)
        if (uses[key] > (this.budget[key] ?? Infinity))
          this.world.violate(`${client} uses ${uses[key]} ${key}; the limit is ${String(this.budget[key])}`);
    }
  }
}
