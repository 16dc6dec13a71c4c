/**
 * A simulated qemu: its monitor, the machine's life, and how it ends. What its appliance does is in guest.ts. It is a
 * machine that boots, one that boots to become a template, or a clone, as its command line says.
 */
import { Readable } from 'node:stream';
import type { Duplex } from 'node:stream';
import type { ProcessExit, StartedProcess } from '../../src/common/subprocess.js';
import { duplexPair } from '../fakes/duplexPair.js';
import { Guest } from './guest.js';
import type { HostFile } from './hostFiles.js';
import type { World } from './world.js';

/** A crash, or another thing that happens by itself, happens within this time, milliseconds. */
const SOON_MS = 120_000;
const SIGKILL_MS = 20;
/** The image of all disks that end with their session. */
export const SCRATCH = 'scratch';

export interface QemuCommand {
  readonly args: readonly string[];
  /** Its working directory. */
  readonly directory: string;
  readonly channels: number;
  /** The files that it inherits. */
  readonly files: readonly HostFile[];
}

/** The process has ended. */
export class Ended extends Error {}

interface Request {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly id: number;
}

function jsonAfter(args: readonly string[], option: string): Record<string, unknown>[] {
  return args.flatMap((arg, index) =>
    arg === option ? [JSON.parse(args[index + 1] as string) as Record<string, unknown>] : [],
  );
}

export class SimulatedQemu {
  readonly pid: number;
  readonly name: string;
  readonly kind: 'cold' | 'template' | 'clone';
  readonly started: StartedProcess;
  readonly guest: Guest;
  /** How it exited; undefined while it runs. */
  exit: ProcessExit | undefined;
  /** Failed writes, by block node. */
  readonly failedWrites = new Map<string, number>();
  /** Block nodes, and their images. */
  readonly #nodes = new Map<string, { readonly image: string; readonly written: boolean }>();
  readonly #ends: readonly Duplex[];
  readonly #outputs: readonly Readable[];
  readonly #gone: () => void;
  readonly #exited: (exit: ProcessExit) => void;
  /** Whether the process is stopped. */
  #stopped = false;
  /** Since when it is stopped, milliseconds; undefined while it is not. */
  stoppedAt: number | undefined;
  /** Whether its machine is. */
  #paused: boolean;
  #terminating = false;
  #waiting: (() => void)[] = [];
  #timers: (() => void)[] = [];

  constructor(
    private readonly world: World,
    private readonly command: QemuCommand,
  ) {
    const { args, channels } = command;
    this.pid = world.next();
    this.name = args[args.indexOf('-name') + 1] ?? '';
    this.kind = args.includes('-incoming') ? 'clone' : this.name.startsWith('guestfs-template-') ? 'template' : 'cold';
    this.#paused = this.kind === 'clone';
    const pairs = Array.from({ length: channels }, () => duplexPair());
    this.#ends = pairs.map(([, own]) => own);
    for (const own of this.#ends) own.on('error', () => undefined).on('end', () => own.end());
    for (const [channel] of pairs) world.channels.push({ what: `a channel of ${this.what}`, channel });
    this.#outputs = Array.from({ length: 2 }, () => new Readable({ read: () => undefined }));
    let exited: (exit: ProcessExit) => void = () => undefined;
    const end = new Promise<ProcessExit>((resolve) => (exited = resolve));
    this.#exited = exited;
    this.started = {
      pid: this.pid,
      channels: pairs.map(([channel]) => channel.pause()),
      extraChannel: undefined,
      outputs: this.#outputs,
      exited: end,
      kill: (signal) => this.#kill(signal),
      unref: () => undefined,
    };
    for (const other of world.qemus.values())
      if (other.name === this.name && other.exit === undefined)
        world.violate(`${this.what} starts while ${other.what} still runs`);
    this.#gone = world.opened('running qemu');
    world.qemus.set(this.pid, this);
    world.note(`${this.what} starts`);
    this.guest = new Guest(world, this, pairs[0] as unknown as readonly [Duplex, Duplex]);
    for (const node of jsonAfter(args, '-blockdev')) this.#addNode(node);
    this.#planTrouble();
    this.#run().catch((error: unknown) => {
      if (!(error instanceof Ended)) world.violate(`a simulated qemu failed: ${String(error)}`);
    });
  }

  get what(): string {
    return `qemu ${this.pid} (${this.kind}, ${this.name})`;
  }

  /** Whether a failed write has to be reported. */
  get lostWrites(): boolean {
    return [...this.failedWrites.keys()].some((name) => {
      const node = this.#nodes.get(name);
      return node?.written === true && node.image !== SCRATCH;
    });
  }

  /** Resolves when it runs: it is neither stopped nor its machine paused. @throws Ended */
  async running(what: 'process' | 'machine' = 'machine'): Promise<void> {
    for (;;) {
      if (this.exit !== undefined) throw new Ended();
      if (!this.#stopped && (what === 'process' || !this.#paused)) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Waits for a time in which it may end. @throws Ended */
  async sleep(milliseconds: number, what: 'process' | 'machine' = 'machine'): Promise<void> {
    if (milliseconds > 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        this.#timers.push(this.world.later(milliseconds, resolve));
      });
    }
    await this.running(what);
  }

  /** Never resolves. @throws Ended */
  async hang(): Promise<never> {
    for (;;) {
      if (this.exit !== undefined) throw new Ended();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Writes to the console. */
  console(text: string): void {
    const console = this.#ends[2];
    if (console?.writable === true) console.write(text);
  }

  /** It ends now. */
  end(exit: ProcessExit): void {
    if (this.exit !== undefined) return;
    this.exit = exit;
    this.world.note(`${this.what} ends: ${exit.signal ?? `exit code ${String(exit.exitCode)}`}`);
    for (const stop of this.#timers.splice(0)) stop();
    for (const own of this.#ends) own.destroy();
    for (const output of this.#outputs) output.push(null);
    this.#gone();
    this.#exited(exit);
    this.#wake();
  }

  crash(): void {
    this.end({ exitCode: undefined, signal: this.world.random.of(['SIGSEGV', 'SIGABRT']) });
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** At some time, if it still runs. */
  #atSomeTime(work: () => void): void {
    this.#timers.push(this.world.later(this.world.duration(SOON_MS), work));
  }

  #planTrouble(): void {
    const { world } = this;
    if (world.happens('qemu crashes')) this.#atSomeTime(() => this.crash());
    if (world.happens('qemu is killed'))
      this.#atSomeTime(() => this.end({ exitCode: undefined, signal: world.random.of(['SIGKILL', 'SIGTERM']) }));
    if (world.happens('qemu stops')) {
      this.#atSomeTime(() => {
        this.#stopped = true;
        this.stoppedAt = world.time.now;
        world.note(`${this.what} is stopped`);
        if (world.random.once(2)) return;
        this.#atSomeTime(() => {
          this.#stopped = false;
          this.stoppedAt = undefined;
          world.note(`${this.what} continues`);
          if (this.#terminating) this.#terminate();
          this.#wake();
        });
      });
    }
    if (world.happens('writes fail')) {
      this.#atSomeTime(() => {
        const [node] = this.#nodes.keys();
        if (node === undefined) return;
        this.failedWrites.set(node, 1 + world.random.below(9));
        world.note(`${this.what}: writes to ${node} fail`);
        if (world.random.once(2))
          this.#send({
            event: 'BLOCK_IO_ERROR',
            data: { 'node-name': node, reason: 'No space left on device' },
          });
      });
    }
  }

  #kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.exit !== undefined) return;
    this.world.note(`${this.what} gets ${signal}`);
    if (signal === 'SIGKILL') {
      this.world.later(1 + this.world.random.below(SIGKILL_MS), () => this.end({ exitCode: undefined, signal }));
      return;
    }
    if (this.#terminating) return;
    this.#terminating = true;
    // A stopped process gets the signal when it continues.
    if (!this.#stopped) this.#terminate();
  }

  #terminate(): void {
    const { world } = this;
    if (world.happens('qemu ignores SIGTERM')) return;
    const bad = world.happens('qemu ends badly');
    const slow = bad && world.random.once(2);
    this.#timers.push(
      world.later(1 + world.duration(slow ? 90_000 : 300), () =>
        this.end({ exitCode: bad && !slow ? 1 : 0, signal: undefined }),
      ),
    );
  }

  // --- The monitor ---

  async #run(): Promise<void> {
    const { world } = this;
    await this.sleep(world.duration(200), 'process');
    if (world.happens('qemu does not start')) {
      this.#outputs[1]?.push('qemu: it cannot be initialized\n');
      return this.end({ exitCode: 1, signal: undefined });
    }
    const monitor = this.#ends[1] as Duplex;
    const requests: Request[] = [];
    let arrived = (): void => undefined;
    let text = '';
    monitor.on('data', (bytes: Buffer) => {
      text += bytes.toString('utf8');
      const lines = text.split('\n');
      text = lines.pop() as string;
      requests.push(...lines.map((line) => JSON.parse(line) as Request));
      arrived();
    });
    this.#send({ QMP: { version: {}, capabilities: [] } });
    if (this.kind !== 'clone') this.guest.boot();
    else this.guest.resume();
    for (;;) {
      await this.running('process');
      const request = requests.shift();
      if (request === undefined) {
        await new Promise<void>((resolve) => {
          arrived = resolve;
          this.#waiting.push(resolve);
        });
        continue;
      }
      if (world.happens('monitor is silent')) await this.hang();
      if (world.random.once(5)) await this.sleep(world.duration(100), 'process');
      if (world.happens('monitor refuses')) {
        this.#send({ id: request.id, error: { class: 'GenericError', desc: 'it is refused' } });
        continue;
      }
      const answer = this.#execute(request);
      this.#send({ id: request.id, return: answer });
    }
  }

  #send(message: object): void {
    const monitor = this.#ends[1];
    if (monitor?.writable !== true) return;
    const line = `${JSON.stringify(message)}\n`;
    if (!this.world.random.once(8)) {
      monitor.write(line);
      return;
    }
    const at = this.world.random.below(line.length);
    monitor.write(line.slice(0, at));
    monitor.write(line.slice(at));
  }

  #event(event: string, data: object): void {
    this.#timers.push(this.world.later(this.world.duration(300), () => this.#send({ event, data })));
  }

  #execute({ execute, arguments: given = {} }: Request): unknown {
    switch (execute) {
      case 'query-named-block-nodes':
        return [...this.#nodes.keys()].map((node) => ({ 'node-name': node }));
      case 'query-blockstats':
        return [...this.#nodes.keys()].map((node) => ({
          'node-name': node,
          stats: { failed_wr_operations: this.failedWrites.get(node) ?? 0 },
        }));
      case 'query-status':
        return { status: 'running' };
      case 'query-migrate':
        return { 'error-desc': 'it failed' };
      case 'blockdev-add':
        this.#addNode(given);
        return {};
      case 'blockdev-del':
        this.#nodes.delete(String(given['node-name']));
        return {};
      case 'device_del':
        this.#event('DEVICE_DELETED', { device: given['id'] });
        return {};
      case 'stop':
        this.#paused = true;
        return {};
      case 'cont':
        this.#paused = false;
        this.#wake();
        return {};
      case 'migrate':
        this.#save(String(given['uri']).slice('unix:'.length));
        return {};
      case 'migrate-incoming':
        this.#restore();
        return {};
      default:
        return {};
    }
  }

  #addNode(node: Readonly<Record<string, unknown>>): void {
    const image = node['image'];
    if (typeof image !== 'string') return;
    const written = node['read-only'] !== true;
    for (const other of this.world.qemus.values()) {
      if (other === this || other.exit !== undefined) continue;
      if (written && image !== SCRATCH && [...other.#nodes.values()].some((one) => one.image === image))
        this.world.violate(`${this.what} gets ${image}, which ${other.what} still has open`);
    }
    this.#nodes.set(String(node['node-name']), { image, written });
  }

  /** Saves the machine: its state to the socket, and its memory and overlay to the files that it has. */
  #save(socket: string): void {
    const { world } = this;
    const connect = world.sockets.get(`${this.command.directory}/${socket}`);
    if (connect === undefined || world.happens('migration fails'))
      return this.#event('MIGRATION', { status: 'failed' });
    for (const file of this.command.files) {
      if (file.sealed) world.violate('a template is saved into a sealed file');
      if (file.kind === 'file' && file.content !== 'part of the appliance') file.content = `saved by ${this.pid}`;
    }
    const stream = new Readable({ read: () => undefined });
    connect(stream);
    stream.push(`saved by ${this.pid}`);
    stream.push(null);
    this.#event('MIGRATION', { status: 'active' });
    this.#timers.push(
      world.later(world.duration(2000), () => this.#send({ event: 'MIGRATION', data: { status: 'completed' } })),
    );
  }

  /** Restores it, which works if all files are of the same machine. */
  #restore(): void {
    const saved = new Set(
      this.command.files.map(({ content }) => content).filter((content) => content.startsWith('saved by')),
    );
    if (saved.size !== 1) this.world.violate(`a clone is restored from ${[...saved].join(' and ') || 'nothing'}`);
    if (this.command.files.some(({ content }) => content.endsWith('damaged')))
      this.world.violate('a clone is restored from a damaged template');
    this.#event('MIGRATION', { status: this.world.happens('migration fails') ? 'failed' : 'completed' });
  }
}
