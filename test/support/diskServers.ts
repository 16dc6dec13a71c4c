/** Real servers of disk images on this host, each in a child process with its own port. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually } from './eventually.js';

/** A server that accepts connections. */
export interface DiskServer {
  /** In the form that `add_drive` expects. */
  readonly address: string;
  /** Its standard output and standard error. */
  log(): string;
  stop(): Promise<void>;
}

const SYSTEM_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** An unused port. */
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
    // tgtd ignores SIGTERM while it has targets.
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

/** Options of a web server. */
export interface WebOptions {
  /** The directory that is served; world-readable. */
  readonly root: string;
  /** An empty directory for its configuration and temporary files. */
  readonly directory: string;
  /** Requires this user and password. */
  readonly login?: Login;
  /** Files with a certificate and its key; enables TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** Credentials that are required. */
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
        root ${root};
        ${login === undefined ? '' : `auth_basic disks; auth_basic_user_file ${passwords};`}
      }
    }`,
  );
  return start(port, 'nginx', '-c', configuration, '-e', 'stderr');
}

/** The only version for which Debian has the modules. */
const PYTHON = '/usr/bin/python3';

/** A read-only FTP server for the files in a directory, with one user. */
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

/**
 * vsftpd, an FTP server whose connections are encrypted from the start. Takes root.
 * @param directory for its configuration; as `root`, for anybody to enter
 */
export async function ftpsServer(
  root: string,
  directory: string,
  { certificate, key }: { readonly certificate: string; readonly key: string },
): Promise<DiskServer> {
  const port = await freePort();
  const empty = join(directory, 'empty');
  mkdirSync(empty, { recursive: true });
  const configuration = join(directory, 'vsftpd.conf');
  writeFileSync(
    configuration,
    [
      ...['listen=YES', 'listen_address=127.0.0.1', `listen_port=${port}`, 'background=NO', 'pasv_address=127.0.0.1'],
      ...['anonymous_enable=YES', 'no_anon_password=YES', 'local_enable=NO', `anon_root=${root}`],
      // Users that every Debian has, one with a home directory.
      ...['ftp_username=bin', 'nopriv_user=nobody', `secure_chroot_dir=${empty}`, 'seccomp_sandbox=NO'],
      ...['ssl_enable=YES', 'implicit_ssl=YES', 'allow_anon_ssl=YES', 'require_ssl_reuse=NO', 'ssl_ciphers=HIGH'],
      ...['force_anon_data_ssl=YES', 'force_anon_logins_ssl=YES'],
      ...[`rsa_cert_file=${certificate}`, `rsa_private_key_file=${key}`, ''],
    ].join('\n'),
  );
  return start(port, 'vsftpd', configuration);
}

/** An iSCSI target. */
export interface IscsiOptions {
  /** The image of its LUN 1. */
  readonly image: string;
  readonly target: string;
  /** An empty directory for the server's own socket. */
  readonly directory: string;
  /** Requires this user, by CHAP. */
  readonly login?: Login;
}

/** tgtd, which runs entirely in user space. */
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

/** Options of an SSH server. */
export interface SshOptions {
  /** A directory that only this user can read; keys and configuration are created in it. */
  readonly directory: string;
  readonly port: number;
}

/** An SSH server with newly generated host keys, which accepts the key `client` in its directory. */
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
  // sshd re-executes itself for each connection, which requires an absolute path.
  return start(port, '/usr/sbin/sshd', '-D', '-e', '-f', configuration);
}

/** Generates a key pair, `path` and `path`.pub; returns the contents of the latter without its comment. */
export function makeSshKey(path: string, type: 'ed25519' | 'rsa' = 'ed25519'): string {
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
}
