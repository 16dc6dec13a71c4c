/** Servers of disk images on this machine: the real ones, each in a child process on a port of its own. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { atDistance } from './distance.js';
import { eventually } from './eventually.js';

/** A server that takes connections. */
export interface DiskServer {
  /** As `add_drive` takes it. */
  readonly address: string;
  /** What it wrote to its outputs. */
  log(): string;
  stop(): Promise<void>;
}

const SYSTEM_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a program that stays in the foreground, and waits until it listens. */
async function start(listensOn: number | string, program: string, ...args: readonly string[]): Promise<DiskServer> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: SYSTEM_PATH, LC_ALL: 'C' },
  });
  let log = '';
  for (const output of [child.stdout, child.stderr]) output.on('data', (bytes: Buffer) => (log += bytes.toString()));
  await eventually(() => {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${log}`);
    return typeof listensOn === 'string' ? existsSync(listensOn) : listens(listensOn);
  });
  return {
    address: typeof listensOn === 'string' ? `unix:${listensOn}` : `127.0.0.1:${listensOn}`,
    log: () => log,
    // tgtd has no ear for requests to end while it has targets.
    stop: () => end(child, args.includes('tgtd') ? 'SIGKILL' : 'SIGTERM'),
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port });
  const connected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  socket.destroy();
  return connected;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** nbdkit on TCP, or on a socket when its path is given. */
export async function nbdkit(
  image: string,
  {
    socket,
    port: given,
    flags = [],
  }: { readonly socket?: string; readonly port?: number; readonly flags?: readonly string[] } = {},
): Promise<DiskServer> {
  if (socket !== undefined) return start(socket, 'nbdkit', '--foreground', '--unix', socket, ...flags, 'file', image);
  const port = given ?? (await freePort());
  return start(
    port,
    'nbdkit',
    '--foreground',
    '--ipaddr',
    '127.0.0.1',
    '--port',
    String(port),
    ...flags,
    'file',
    image,
  );
}

/** qemu-nbd, on TCP or on a socket, with the name of its export. */
export async function qemuNbd(
  image: string,
  {
    socket,
    name = '',
    flags = [],
  }: { readonly socket?: string; readonly name?: string; readonly flags?: readonly string[] } = {},
): Promise<DiskServer> {
  const common = ['--persistent', '--shared=4', '--format=raw', `--export-name=${name}`, ...flags, image];
  if (socket !== undefined) return start(socket, 'qemu-nbd', `--socket=${socket}`, ...common);
  const port = await freePort();
  return start(port, 'qemu-nbd', '--bind=127.0.0.1', `--port=${port}`, ...common);
}

/** Where a web server has its files, and what it asks for. */
export interface WebOptions {
  /** What is served; a readable directory for everybody. */
  readonly root: string;
  /** An empty directory for its configuration and its files of the moment. */
  readonly directory: string;
  /** Lets in only this user with this password. */
  readonly login?: Login;
  /** Files with a certificate and its key: speaks TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** Who is let in. */
export interface Login {
  readonly user: string;
  readonly password: string;
}

/** nginx, which serves ranges of files. */
export async function nginx({ root, directory, login, tls }: WebOptions): Promise<DiskServer> {
  const port = await freePort();
  const passwords = join(directory, 'passwords');
  if (login !== undefined) writeFileSync(passwords, `${login.user}:{PLAIN}${login.password}\n`);
  const configuration = join(directory, 'nginx.conf');
  writeFileSync(
    configuration,
    `
    daemon off; master_process off; pid ${directory}/pid; error_log stderr;
    events {}
    http {
      access_log ${directory}/access.log;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${directory}/${what};`).join(' ')}
      server {
        listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'};
        ${tls === undefined ? '' : `ssl_certificate ${tls.certificate}; ssl_certificate_key ${tls.key};`}
        root ${root}; keepalive_timeout 0;
        ${login === undefined ? '' : `auth_basic disks; auth_basic_user_file ${passwords};`}
      }
    }`,
  );
  // qemu's HTTP client waits for ever when two transfers end in one event, as they do on a busy machine: here one begins
  // when the one before has ended. See docs/network-drives.md.
  return atDistance(await start(port, 'nginx', '-c', configuration, '-e', 'stderr'));
}

/** Debian's modules are there for this one only. */
const PYTHON = '/usr/bin/python3';

/** An FTP server for the files in a directory, which lets in one user, to read. */
export async function ftpServer(root: string, { user, password }: Login): Promise<DiskServer> {
  const port = await freePort();
  return start(
    port,
    PYTHON,
    '-m',
    'pyftpdlib',
    '--interface',
    '127.0.0.1',
    '--port',
    String(port),
    '--directory',
    root,
    '--username',
    user,
    '--password',
    password,
  );
}

/** A target of iSCSI. */
export interface IscsiOptions {
  /** The contents of its unit 1. */
  readonly image: string;
  readonly target: string;
  /** An empty directory for the server's own socket. */
  readonly directory: string;
  /** Lets in only this user, by CHAP. */
  readonly login?: Login;
}

/** tgtd, all of which runs in user space. */
export async function iscsiServer({ image, target, directory, login }: IscsiOptions): Promise<DiskServer> {
  const port = await freePort();
  const socket = join(directory, 'tgtd');
  const server = await start(
    port,
    'env',
    `TGT_IPC_SOCKET=${socket}`,
    'tgtd',
    '--foreground',
    '--iscsi',
    `portal=127.0.0.1:${port}`,
  );
  const tell = (...args: readonly string[]): void => {
    execFileSync('tgtadm', ['--lld', 'iscsi', ...args], {
      stdio: 'pipe',
      env: { ...process.env, PATH: SYSTEM_PATH, TGT_IPC_SOCKET: socket },
    });
  };
  try {
    tell('--op', 'new', '--mode', 'target', '--tid', '1', '--targetname', target);
    tell('--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '--backing-store', image);
    tell('--op', 'bind', '--mode', 'target', '--tid', '1', '--initiator-address', 'ALL');
    if (login !== undefined) {
      tell('--op', 'new', '--mode', 'account', '--user', login.user, '--password', login.password);
      tell('--op', 'bind', '--mode', 'account', '--tid', '1', '--user', login.user);
    }
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** What an SSH server is made of. */
export interface SshOptions {
  /** A directory that only this user can read; keys and configuration are made in it. */
  readonly directory: string;
  readonly port: number;
}

/** An SSH server with keys of its own, which lets in who has the key `client` of its directory. */
export async function sshd({ directory, port }: SshOptions): Promise<DiskServer> {
  const configuration = join(directory, 'sshd_config');
  writeFileSync(
    configuration,
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${directory}/host`,
      `AuthorizedKeysFile ${directory}/client.pub`,
      'PidFile none',
      'UsePAM no',
      'PasswordAuthentication no',
      'StrictModes no',
      'PermitRootLogin prohibit-password',
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  );
  // It starts itself anew for each connection, and so wants its own path.
  return start(port, '/usr/sbin/sshd', '-D', '-e', '-f', configuration);
}

/** Makes a pair of keys: `path`, and `path`.pub, whose contents are returned without the remark. */
export function makeSshKey(path: string, type: 'ed25519' | 'rsa' = 'ed25519'): string {
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
}
