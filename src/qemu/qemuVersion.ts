/** The version of a qemu. */
import { runTool } from '../common/subprocess.js';
import { abortController } from '../common/waiting.js';

const LIMIT_MS = 10_000;
const OUTPUT_LIMIT = 4096;

/**
 * Asks a qemu for its version, such as `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
 * @throws Error if it does not state one
 */
export async function qemuVersionOf(binary: string): Promise<string> {
  const { stdout, stderr } = await runTool(binary, ['--version'], {
    timeoutMs: LIMIT_MS,
    maxOutputBytes: OUTPUT_LIMIT,
    signal: abortController().signal,
  });
  const version = /^QEMU emulator version ([ -~]+)$/m.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${binary} --version: ${stderr.trim() || stdout}`);
  return version;
}
