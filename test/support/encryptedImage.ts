/** qcow2 images that are encrypted in themselves. */
import { execFileSync } from 'node:child_process';

const ATTEMPTS = 20;

/**
 * Creates a qcow2 image with LUKS.
 *
 * qemu-img first measures the processor time of key derivation, and gives up if the kernel's clock has not advanced.
 */
export function encryptedQcow2(path: string, size: string, passphrase: string): void {
  const secret = `secret,id=key,data=${passphrase.replaceAll(',', ',,')}`;
  const options = 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10';
  const create = ['create', '-q', '-f', 'qcow2', '--object', secret, '-o', options, path, size];
  for (let attempt = 1; ; attempt += 1) {
    try {
      execFileSync('qemu-img', create, { stdio: 'pipe' });
      return;
    } catch (error) {
      if (attempt === ATTEMPTS || !String(error).includes('Unable to get accurate CPU usage')) throw error;
    }
  }
}
