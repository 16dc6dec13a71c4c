/**
 * One running qemu: its channels, its output, its exit.
 *
 * It is started through setpriv(1), which, before it executes qemu,
 * - asks the kernel to kill it when the server dies for whatever reason,
 * - sets no_new_privs,
 * - switches to an unprivileged user, when the server is root.
 */
import type { Duplex } from 'node:stream';
import { GuestfsError, messageOf } from '../common/errors.js';
import { startProcess, type ProcessExit } from '../common/subprocess.js';
import { inTime } from '../common/waiting.js';
import { CHANNEL_FDS, type QemuCommand } from './commandLine.js';

/** Bytes kept of qemu's own output. */
const MESSAGES_LIMIT = 16 * 1024;

/** How long the last output may take to arrive after the exit. */
const DRAIN_MS = 1000;

/** The user and groups that qemu runs as. */
export interface QemuIdentity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups: that of /dev/kvm. */
  readonly groups: readonly number[];
}

/** Options for starting qemu, besides its command. */
export interface QemuStartOptions {
  /** undefined: the server's user. */
  readonly user: QemuIdentity | undefined;
  /** The directory that qemu may write to. */
  readonly runDirectory: string;
  /** Receives the output of the console and of qemu. */
  readonly onConsole: (bytes: Buffer) => void;
}

/** How qemu exited. */
export interface QemuExit extends ProcessExit {
  /** The end of its standard error and standard output. */
  readonly qemuMessages: string;
}

/** A started qemu, which may still fail to come up. */
export interface QemuProcess {
  readonly pid: number;
  /** Channel to the daemon. */
  readonly daemon: Duplex;
  /** Channel to the monitor. */
  readonly monitor: Duplex;
  /** Its own output so far. */
  messages(): string;
  /** Resolves when it has been reaped and its output read; never rejects. */
  readonly exited: Promise<QemuExit>;
  /** Sends SIGTERM, and SIGKILL after `graceMs`; resolves when it has been reaped. */
  stop(graceMs: number): Promise<QemuExit>;
}

/**
 * Starts qemu. The descriptors of `command` can be closed when this returns.
 * @throws GuestfsError `QEMU_FAILED` when no process can be started
 */
export async function startQemu(command: QemuCommand, options: QemuStartOptions): Promise<QemuProcess> {
  const started = await startProcess('setpriv', [...privileges(options.user), '--', command.binary, ...command.args], {
    channels: Object.keys(CHANNEL_FDS).length,
    fds: command.fds,
    // Libraries that look for files in the user's home directory, such as keys, find those of the run directory.
    env: { LC_ALL: 'C', TMPDIR: options.runDirectory, HOME: '.' },
    // Its user may lack permission on the parent directories, and paths of sockets have to be short.
    cwd: options.runDirectory,
  }).catch((error: unknown) => {
    throw new GuestfsError('QEMU_FAILED', `qemu cannot be started through setpriv: ${messageOf(error)}`, {
      cause: error,
    });
  });

  const [daemon, monitor, console] = started.channels as [Duplex, Duplex, Duplex];
  // A killed qemu resets its connections; `exited` reports that better.
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

  return {
    pid: started.pid,
    daemon,
    monitor,
    messages: text,
    exited,
    stop: async (graceMs) => {
      started.kill(graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
      if ((await inTime(graceMs, 'late', exited)) === 'late') started.kill('SIGKILL');
      return exited;
    },
  };
}

function privileges(user: QemuIdentity | undefined): string[] {
  return [
    ...['--pdeathsig', 'KILL', '--no-new-privs'],
    ...(user === undefined ? [] : ['--reuid', String(user.uid), '--regid', String(user.gid)]),
    ...(user === undefined ? [] : user.groups.length === 0 ? ['--clear-groups'] : ['--groups', user.groups.join(',')]),
  ];
}

async function closed(channel: Duplex): Promise<void> {
  if (!channel.destroyed) await new Promise((resolve) => channel.once('close', resolve));
}
