/** Queries libvirt through its command-line tool, which is not always installed. */
import { GuestfsError, messageOf } from '../../common/errors.js';
import { runTool } from '../../common/subprocess.js';
import { systemErrorCode } from '../../security/pathPolicy.js';

/** Enough for a remote libvirt, or one that starts on demand. */
const LIMIT_MS = 60_000;
/** Ten times the description of a domain with as many disks as a session can have. */
const OUTPUT_LIMIT = 4 << 20;

/** Prefix of virsh's error messages. */
const MARK = 'error: ';

/** Environment variables with which virsh finds the user's libvirt and its keys. */
const INHERITED = [
  'HOME',
  'USER',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'SSH_AUTH_SOCK',
  'LIBVIRT_DEFAULT_URI',
] as const;

/**
 * Runs `virsh` and returns what it prints.
 * @param uri of the libvirt; undefined: the default one
 * @throws GuestfsError `ENOTSUP` without virsh, `ETIMEDOUT`, or DAEMON_ERROR with virsh's message
 */
export async function virsh(uri: string | undefined, args: readonly string[], signal: AbortSignal): Promise<string> {
  const env = Object.fromEntries(
    INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
  const connect = uri === undefined ? [] : [`--connect=${uri}`];
  const result = await runTool('virsh', ['--quiet', ...connect, ...args], {
    env,
    timeoutMs: LIMIT_MS,
    maxOutputBytes: OUTPUT_LIMIT,
    signal,
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    throw new GuestfsError(
      'ENOTSUP',
      'this server has no virsh, which it needs to query libvirt: install it (Debian package libvirt-clients), or add each disk of the domain with AddDrive',
      { cause: error },
    );
  });
  if (result.overLimit) throw new GuestfsError('ETIMEDOUT', `libvirt did not answer within ${LIMIT_MS / 1000} s`);
  if (result.exitCode !== 0)
    throw new GuestfsError(
      'DAEMON_ERROR',
      errorsIn(result.stderr) || messageOf(new Error(`virsh failed with ${result.exitCode}`)),
    );
  return result.stdout;
}

/** virsh's own error messages, without quoted lines: if a file is not a domain, those are lines of that file, whoever owns it. */
function errorsIn(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => (line.startsWith(MARK) ? [line.slice(MARK.length)] : []))
    .join('\n')
    .trim();
}
