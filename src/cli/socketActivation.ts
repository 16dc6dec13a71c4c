/**
 * `--listen systemd`: the server takes over the socket that systemd listens on, as sd_listen_fds(3) describes.
 * systemd can then accept connections before the server is there, and start it when the first one arrives.
 *
 * Node.js cannot ask the kernel for the address of an inherited socket, so a short-lived Python process does.
 */
import { stat } from 'node:fs/promises';
import { ISOLATED_PYTHON } from '../common/python.js';
import { runTool } from '../common/subprocess.js';
import { abortController } from '../common/waiting.js';
import { socketPath } from '../server/address.js';
import { UsageError } from './commandLine.js';
import { FROM_SYSTEMD } from './flagValues.js';

/** The first descriptor that systemd passes (SD_LISTEN_FDS_START). */
const FIRST = 3;
const [PYTHON = '', ...ISOLATED] = ISOLATED_PYTHON;
/** Prints the address of descriptor 3 in the form of `--listen`, or why it is of no use. */
const PROGRAM = `
import socket
s = socket.socket(fileno=3)
if s.type != socket.SOCK_STREAM or not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
    print("error it does not listen")
elif s.family == socket.AF_UNIX:
    path = s.getsockname()
    print("unix:" + path if isinstance(path, str) and path.startswith("/") else "error it has no path")
elif s.family == socket.AF_INET:
    print("%s:%d" % s.getsockname())
elif s.family == socket.AF_INET6:
    print("[%s]:%d" % s.getsockname()[:2])
else:
    print("error it is neither a Unix nor an Internet socket")
`;
const LIMIT_MS = 30_000;
const ANSWER_LIMIT = 4096;

/** The mode of a socket that may be in a directory that the server cannot look into: then everybody might use it. */
async function modeOf(path: string): Promise<string> {
  const mode = await stat(path).then(
    (found) => found.mode & 0o777,
    () => 0o666,
  );
  return mode.toString(8).padStart(3, '0');
}

/** A socket that listens already. */
export interface ActivatedSocket {
  readonly descriptor: number;
  /** In the form of `--listen`. */
  readonly address: string;
  /** Of a Unix socket, in the form of `--socket-mode`: the .socket unit has set it. */
  readonly mode: string | undefined;
}

/**
 * The socket from systemd.
 * @throws UsageError if there is none, more than one, or one that cannot be served
 */
export async function activatedSocket(environment: NodeJS.ProcessEnv): Promise<ActivatedSocket> {
  const { LISTEN_PID: pid = '', LISTEN_FDS: count = '' } = environment;
  if (Number(pid) !== process.pid)
    throw new UsageError(
      `--listen ${FROM_SYSTEMD}: systemd has passed no socket to this process (LISTEN_PID=${pid}, process ${process.pid}); does a .socket unit start it?`,
    );
  if (count !== '1')
    throw new UsageError(`--listen ${FROM_SYSTEMD}: the .socket unit has to pass one socket, not ${count || 'none'}`);
  const { exitCode, stdout, stderr } = await runTool(PYTHON, [...ISOLATED, '-c', PROGRAM], {
    fds: [FIRST],
    timeoutMs: LIMIT_MS,
    maxOutputBytes: ANSWER_LIMIT,
    signal: abortController().signal,
  });
  const address = stdout.trim();
  if (exitCode !== 0 || address === '' || address.startsWith('error '))
    throw new UsageError(
      `--listen ${FROM_SYSTEMD}: the socket cannot be served: ${address.replace(/^error /, '') || stderr.trim().split('\n').at(-1) || 'no answer'}`,
    );
  const path = socketPath(address);
  return { descriptor: FIRST, address, mode: path === undefined ? undefined : await modeOf(path) };
}
