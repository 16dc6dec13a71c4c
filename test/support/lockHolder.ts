/** Another virtual machine that uses an image. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface LockHolder {
  /** Ends it; resolves when the image is released. */
  release(): Promise<void>;
}

/** Starts a qemu that only keeps a raw image open for writing. */
export async function holdImage(path: string): Promise<LockHolder> {
  const [binary, machine] = process.arch === 'arm64' ? ['qemu-system-aarch64', 'virt'] : ['qemu-system-x86_64', 'q35'];
  const child = spawn(
    binary,
    [
      '-machine',
      machine,
      '-accel',
      'tcg',
      '-S',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-qmp',
      'stdio',
      '-drive',
      `file=${path},format=raw,if=virtio`,
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let messages = '';
  child.stderr.on('data', (bytes: Buffer) => {
    messages += bytes.toString();
  });
  const exited = once(child, 'exit');
  // Its QMP greeting shows that all its images are open.
  const outcome = await Promise.race([once(child.stdout, 'data'), exited.then(() => undefined)]);
  if (outcome === undefined) throw new Error(`qemu did not start: ${messages}`);
  return {
    release: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
