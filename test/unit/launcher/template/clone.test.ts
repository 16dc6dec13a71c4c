import { describe, expect, it } from '@jest/globals';
import type { Clone } from '../../../../src/launcher/template/restore.js';
import { CloneFailed } from '../../../../src/launcher/template/blame.js';
import { resumeClone } from '../../../../src/launcher/template/clone.js';

const never = new AbortController().signal;

/** A clone whose appliance does not answer. */
function silent(
  exited: Promise<object> = new Promise(() => undefined),
): Pick<Clone, 'monitor' | 'connection' | 'qemu'> {
  const monitor = { execute: async () => ({}) };
  const connection = { call: async () => new Promise(() => undefined) };
  const qemu = { exited, stop: async () => ({ qemuMessages: '' }) };
  return { monitor, connection, qemu } as unknown as Clone;
}

describe('a clone whose appliance hangs when it is resumed', () => {
  it('has failed after a while, so that the appliance can be booted instead', async () => {
    const resumed = resumeClone(silent(), 1, never, 10);
    await expect(resumed).rejects.toThrow(CloneFailed);
    await expect(resumed).rejects.toThrow('the appliance did not discover its drives within 0.01 s');
  });

  it.each([
    ['SIGKILL', true],
    ['SIGSEGV', false],
  ])('knows whether its qemu was killed: %s', async (signal, killed) => {
    const exited = Promise.resolve({ exitCode: undefined, signal, qemuMessages: '' });
    await expect(resumeClone(silent(exited), 1, never, 10)).rejects.toMatchObject({ killed });
  });

  it('does not outlast its launch', async () => {
    await expect(resumeClone(silent(), 1, AbortSignal.abort(new Error('the client is gone')))).rejects.toThrow(
      'the client is gone',
    );
  });
});
