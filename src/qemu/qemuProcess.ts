/**
 * One running qemu: its channels, its output, its exit.
 *
 * It is started in a jail, where this machine allows one, as an unprivileged user if the server is root, and ends with
 * the server, whatever ends the server.
 */
import type { Duplex } from 'node:stream';
import { GuestfsError, messageOf } from '../common/errors.js';
import type { ProcessExit } from '../common/subprocess.js';
import { inTime } from '../common/waiting.js';
import { startJailed } from '../jail/jail.js';
import type { JailUser } from '../jail/jailArguments.js';
import { qemuPlan, type QemuNetwork } from './qemuJail.js';
import { CHANNEL_FDS, type QemuCommand } from './commandLine.js';
import { FdSender } from './fdSender.js';
import { noteRunning } from './runningQemus.js';

/** How many bytes of qemu's own output are kept. */
const MESSAGES_LIMIT = 16 * 1024;

/** How long the last output may take to arrive after the exit. */
const DRAIN_MS = 1000;

/** Parameters for starting a qemu, in addition to its command. */
export interface QemuStartOptions {
  /** undefined: the server's user. */
  readonly user: JailUser | undefined;
  /** The directory that qemu may write to. */
  readonly runDirectory: string;
  /** Memory of the machine, MiB. */
  readonly memsizeMb: number;
  /** Whether it uses KVM. */
  readonly kvm: boolean;
  /** What it does with the host's network. */
  readonly network: QemuNetwork;
  /** It has no client's drives, and writes its state to a Unix socket. */
  readonly savesState?: boolean;
  /** Files by which it enters its cgroups. */
  readonly cgroup: readonly string[];
  /** Console and messages as they come. */
  readonly onConsole: (bytes: Buffer) => void;
}

/** How qemu exited. */
export interface QemuExit extends ProcessExit {
  /** The end of its standard error and standard output. */
  readonly qemuMessages: string;
}

/** A started qemu, which may still fail to initialize. */
export interface QemuProcess {
  readonly pid: number;
  /** Channel to the daemon. */
  readonly daemon: Duplex;
  /** Channel to the monitor. */
  readonly monitor: Duplex;
  /** Channel to the monitor for files. */
  readonly files: FdSender;
  /** Channel to the serial console, whose output is taken already. */
  readonly console: Duplex;
  /** Its output so far. */
  messages(): string;
  /** Resolves when it has been reaped and its output read; never rejects. */
  readonly exited: Promise<QemuExit>;
  /** Sends SIGTERM, and SIGKILL after `graceMs`; resolves when it has been reaped. */
  stop(graceMs: number): Promise<QemuExit>;
}

/**
 * Starts qemu. The descriptors of `command` can be closed when this returns.
 * @throws GuestfsError `QEMU_FAILED` if the process cannot be started
 */
export async function startQemu(command: QemuCommand, options: QemuStartOptions): Promise<QemuProcess> {
  const started = await qemuPlan(command, options)
    .then((plan) =>
      startJailed(plan, {
        channels: Object.keys(CHANNEL_FDS).length,
        fds: command.fds,
        // Libraries that look for a user's files, such as keys, find the machine's own.
        env: { LC_ALL: 'C', TMPDIR: options.runDirectory, HOME: '.' },
      }),
    )
    .catch((error: unknown) => {
      if (error instanceof GuestfsError) throw error;
      throw new GuestfsError('QEMU_FAILED', `qemu cannot be started: ${messageOf(error)}`, { cause: error });
    });

  const [daemon, monitor, console, files] = started.channels as [Duplex, Duplex, Duplex, Duplex];
  // When qemu is killed, its connections are reset; `exited` reports that better.
  for (const channel of started.channels) channel.on('error', () => undefined);
  console.on('data', options.onConsole).resume();

  let messages = Buffer.alloc(0);
  const drained = started.outputs.map(
    (output) =>
      new Promise<void>((resolve) => {
        output.on('error', () => undefined);
        output.on('data', (bytes: Buffer) => {
          messages = Buffer.concat([messages, bytes]).subarray(-MESSAGES_LIMIT);
          options.onConsole(bytes);
        });
        output.once('close', resolve);
        output.resume();
      }),
  );
  const text = (): string => messages.toString('utf8');
  const exited = started.exited.then(async (exit) => {
    await inTime(DRAIN_MS, undefined, Promise.all(drained));
    // Leaves time to read the daemon's last output; then closes channels that nothing reads.
    void inTime(DRAIN_MS, undefined, closed(daemon)).then(() =>
      started.channels.forEach((channel) => channel.destroy()),
    );
    return { ...exit, qemuMessages: text() };
  });
  noteRunning(started.pid, started.exited);

  return {
    pid: started.pid,
    daemon,
    monitor,
    files: new FdSender(files),
    console,
    messages: text,
    exited,
    stop: async (graceMs) => {
      started.kill(graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
      if ((await inTime(graceMs, 'late', exited)) === 'late') started.kill('SIGKILL');
      return exited;
    },
  };
}

async function closed(channel: Duplex): Promise<void> {
  if (!channel.destroyed) await new Promise((resolve) => channel.once('close', resolve));
}
