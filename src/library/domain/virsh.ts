/** Asks libvirt by its command line tool, which is not always installed. */
import { GuestfsError, messageOf } from '../../common/errors.js';
import { runTool } from '../../common/subprocess.js';
import { systemErrorCode } from '../../security/pathPolicy.js';

/** A libvirt far away, or one that starts when it is asked. */
const LIMIT_MS = 60_000;
/** A description of a domain with all the disks that a session can have is a tenth of it. */
const OUTPUT_LIMIT = 4 << 20;

/** What virsh begins its errors with. */
const MARK = 'error: ';

/** What virsh finds the user's libvirt, and its keys, by. */
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
 * @param uri of the libvirt; undefined: the usual one
 * @throws GuestfsError `ENOTSUP` without virsh, `ETIMEDOUT`, or DAEMON_ERROR with virsh's words
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
      'this server has no virsh, by which it asks libvirt; on Debian and Ubuntu, the package libvirt-clients has it. Or add each disk of the domain with AddDrive',
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

/** What virsh says is wrong. Not what it quotes on other lines: of a file that is no domain, those are lines of the file, whoever's it is. */
function errorsIn(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => (line.startsWith(MARK) ? [line.slice(MARK.length)] : []))
    .join('\n')
    .trim();
}
