import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  CONSOLE_QUOTE,
  explainLaunchFailure,
  quoteEnd,
  type LaunchFailure,
} from '../../../src/launcher/launchFailure.js';

const failure: LaunchFailure = {
  exit: { exitCode: 0, signal: undefined },
  qemuMessages: '',
  console: '',
  accelerator: 'tcg',
  memsizeMb: 512,
};
const PANIC = '[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)';

describe('the reason of a failed launch', () => {
  it.each<[string, Partial<LaunchFailure>, RegExp]>([
    ['KERNEL_PANIC', { console: PANIC }, /Unable to mount root fs/],
    [
      'OUT_OF_MEMORY',
      { console: `[    0.9] Initramfs unpacking failed: write error\n${PANIC}` },
      /512 MiB is too little memory for the appliance; give the session a larger memsize/,
    ],
    ['OUT_OF_MEMORY', { console: '[    3.0] Kernel panic - not syncing: System is deadlocked on memory' }, /512 MiB/],
    ['OUT_OF_MEMORY', { console: '[    3.0] Out of memory: Killed process 99 (udevadm)', exit: 'timeout' }, /512 MiB/],
    [
      'OUT_OF_MEMORY',
      {
        qemuMessages: "qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory",
        exit: { exitCode: 1, signal: undefined },
      },
      /the server has too little memory/,
    ],
    [
      'IMAGE_LOCKED',
      {
        qemuMessages: 'qemu: -device scsi-hd: Failed to get "write" lock\nIs another process using the image?',
        exit: { exitCode: 1, signal: undefined },
      },
      /in use/,
    ],
    [
      'KVM_UNUSABLE',
      {
        accelerator: 'kvm',
        qemuMessages: 'qemu: error: failed to set MSR 0x10a to 0x69',
        exit: { exitCode: undefined, signal: 'SIGABRT' },
      },
      /MSR/,
    ],
    [
      'KVM_UNUSABLE',
      {
        accelerator: 'kvm',
        qemuMessages: 'Could not access KVM kernel module: Permission denied',
        exit: { exitCode: 1, signal: undefined },
      },
      /Permission denied/,
    ],
    ['LAUNCH_TIMEOUT', { exit: 'timeout', console: 'Starting /init script ...' }, /Starting \/init/],
    ['KERNEL_PANIC', { exit: 'timeout', console: PANIC }, /panicked/],
    [
      'QEMU_FAILED',
      { exit: { exitCode: 1, signal: undefined }, qemuMessages: 'qemu: -device nope: no such device' },
      /exit code 1[^]*no such device/,
    ],
    ['QEMU_FAILED', { exit: { exitCode: undefined, signal: 'SIGSEGV' } }, /SIGSEGV/],
    ['QEMU_FAILED', { exit: { exitCode: undefined, signal: 'SIGKILL' } }, /killed/],
    ['OUT_OF_MEMORY', { memsizeMb: 64 }, /64 MiB is too little/],
    ['LAUNCH_FAILED', { console: 'guestfsd: cannot open channel' }, /cannot open channel/],
  ])('is %s for %j', (reason, changes, message) => {
    const error = explainLaunchFailure({ ...failure, ...changes });
    expect(error.reason).toBe(reason);
    expect(error.message).toMatch(message);
  });

  it('of a panic ends with its cause, and has no registers', () => {
    const { message } = explainLaunchFailure({
      ...failure,
      console: `\u001b[31minit: no root\u001b[0m\r\n${PANIC}\r\n[    1.3] CPU: 0\r\n${'[    1.4] RAX: 0\r\n'.repeat(500)}[    1.5] ---[ end Kernel panic - not syncing ]---\r\n`,
    });
    expect(message).toMatch(new RegExp(`init: no root\n.*Unable to mount root fs on unknown-block\\(0,0\\)$`));
    expect(message).not.toContain('\\x');
  });

  it('is the explanation of the drives if it is about one', () => {
    const explainDrives = (): GuestfsError =>
      new GuestfsError('IMAGE_LOCKED', "image 'a.img' is in use", { metadata: { image: 'a.img' } });
    const error = explainLaunchFailure({
      ...failure,
      exit: { exitCode: 1, signal: undefined },
      qemuMessages: 'lock',
      explainDrives,
    });
    expect(error).toMatchObject({
      reason: 'IMAGE_LOCKED',
      details: { metadata: { image: 'a.img', accelerator: 'tcg' } },
    });
    expect(error.message).toMatch(/^image 'a.img' is in use\n/);
  });
});

describe('the message', () => {
  it("quotes the end of a long console and of qemu's output, and stays small", () => {
    const error = explainLaunchFailure({
      ...failure,
      console: `start ${'\u0001'.repeat(100_000)} the end`,
      qemuMessages: `${'ü'.repeat(50_000)} last`,
    });
    expect(error.message).toContain('the end');
    expect(error.message).toContain('last');
    expect(error.message).not.toContain('start');
    expect(Buffer.byteLength(error.message)).toBeLessThan(3072);
  });

  it('names no variable or flag of the server', () => {
    for (const exit of ['timeout', failure.exit, { exitCode: 1, signal: undefined }] as const) {
      expect(explainLaunchFailure({ ...failure, exit }).message).not.toMatch(
        /LIBGUESTFS|GUESTFS_GRPC|--\w|environment/,
      );
    }
  });
});

describe('a quotation of hostile text', () => {
  it('has no colours, carriage returns or control characters', () => {
    expect(quoteEnd('\u001b[0;1;31mred\u001b[0m\r\n\u0000\u001b]0;title\u0007', 100)).toBe(
      'red\n\\x00\\x1b]0;title\\x07',
    );
  });

  it('is valid UTF-8 up to the limit, wherever it is truncated', () => {
    for (let extra = 0; extra < 8; extra++) {
      const quoted = quoteEnd(`${'x'.repeat(extra)}${'€𝄞'.repeat(2000)}`, CONSOLE_QUOTE);
      expect(Buffer.byteLength(quoted)).toBeLessThanOrEqual(CONSOLE_QUOTE);
      expect(quoted).not.toContain('\ufffd');
    }
  });
});
