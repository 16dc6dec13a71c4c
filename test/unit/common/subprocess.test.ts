import { getDefaultHighWaterMark } from 'node:stream';
import { open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Duplex, Readable } from 'node:stream';
import { descriptorOf, runTool, startProcess } from '../../../src/common/subprocess.js';

const limits = { timeoutMs: 10_000, maxOutputBytes: 10_000, signal: new AbortController().signal };
const shell = (script: string, options: Partial<Parameters<typeof runTool>[2]> = {}) =>
  runTool('sh', ['-c', script], { ...limits, ...options });

describe('a short command', () => {
  it('returns its outputs and exit code', async () => {
    await expect(shell('echo out; echo err >&2; exit 3')).resolves.toEqual({
      exitCode: 3,
      stdout: 'out\n',
      stderr: 'err\n',
      overLimit: false,
    });
  });

  it('gets input, descriptors and a small environment', async () => {
    const file = await open('/proc/self/comm');
    const result = await shell('cat; cat <&3; env | sort', { input: 'in\n', fds: [file.fd], env: { EXTRA: '1' } });
    await file.close();
    const lines = result.stdout.split('\n');
    expect(lines[0]).toBe('in');
    expect(lines.slice(2).map((line) => line.split('=')[0])).toEqual(['EXTRA', 'LC_ALL', 'PATH', 'PWD', '']);
  });

  it('can write to a file', async () => {
    const file = await open(join(tmpdir(), `subprocess-test-${process.pid}`), 'wx+');
    await unlink(join(tmpdir(), `subprocess-test-${process.pid}`));
    await expect(shell('echo out; echo err >&2', { stdout: file.fd })).resolves.toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'err\n',
    });
    const { buffer, bytesRead } = await file.read(Buffer.alloc(10), 0, 10, 0);
    expect(buffer.subarray(0, bytesRead).toString()).toBe('out\n');
    await file.close();
  });

  it('has no input if none is given', async () => {
    await expect(shell('cat')).resolves.toMatchObject({ exitCode: 0, stdout: '' });
  });

  it('is killed if it takes too long, even if it ignores signals', async () => {
    await expect(shell('trap "" TERM; while :; do :; done', { timeoutMs: 100 })).resolves.toMatchObject({
      exitCode: undefined,
      overLimit: true,
    });
  });

  it('is killed if its output is too long', async () => {
    const result = await shell('while :; do echo 0123456789; done', { maxOutputBytes: 1000 });
    expect(result.overLimit).toBe(true);
    expect(result.stdout.length).toBeLessThanOrEqual(1000);
  });

  it('is an error if it cannot be started', async () => {
    await expect(runTool('/no/such/program', [], limits)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('ends with the reason of the signal', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(shell('sleep 10', { signal: controller.signal })).rejects.toThrow('enough');
    await expect(shell('true', { signal: controller.signal })).rejects.toThrow('enough');
  });
});

describe('a long-lived process', () => {
  it('has channels that stop reading soon after a pause, and does not change other streams', async () => {
    const usual = getDefaultHighWaterMark(false);
    const started = await startProcess('sleep', ['60'], { channels: 2, fds: [], env: {}, cwd: '/' });
    expect(started.channels.map((channel) => channel.readableHighWaterMark)).toEqual([1, 1]);
    expect(getDefaultHighWaterMark(false)).toBe(usual);
    started.kill('SIGKILL');
    await started.exited;
    await expect(
      startProcess('/no/such/program', [], { channels: 1, fds: [], env: {}, cwd: '/' }),
    ).rejects.toMatchObject({ code: 'ENOENT' });
    expect(getDefaultHighWaterMark(false)).toBe(usual);
  });

  it('inherits no descriptor that was closed before it started, whose number can be that of another file', async () => {
    const { channels, exited } = await startProcess('cat', [], { channels: 1, fds: [], env: {}, cwd: '/' });
    const [channel] = channels as [Duplex];
    // Whoever is at the other end closes it while the program waits for its turn to start.
    const starting = startProcess('sh', ['-c', 'cat <&3'], {
      channels: 0,
      fds: [() => descriptorOf(channel)],
      env: {},
      cwd: '/',
    });
    channel.destroy();
    await expect(starting).rejects.toThrow('the channel is closed');
    await exited;
  });

  it('has two-way channels, then descriptors, and reports its end even if they are not read', async () => {
    const file = await open('/proc/self/comm');
    const started = await startProcess(
      'sh',
      ['-c', 'read line <&3; echo "got $line" >&4; cat <&5 >/dev/null; echo unread >&3; exit 7'],
      {
        channels: 2,
        fds: [file.fd],
        env: {},
        cwd: '/',
      },
    );
    await file.close();
    const answer = new Promise((resolve) => started.channels[1]?.once('data', resolve).resume());
    started.channels[0]?.write('hello\n');
    expect(String(await answer)).toBe('got hello\n');
    await expect(started.exited).resolves.toEqual({ exitCode: 7, signal: undefined });
  });

  it('loses no data that arrives before there is a reader', async () => {
    const started = await startProcess('sh', ['-c', 'echo early >&3; echo early; exec cat <&3'], {
      channels: 1,
      fds: [],
      env: {},
      cwd: '/',
    });
    const [channel, output] = [started.channels[0], started.outputs[0]];
    // The data has arrived by then, and the event loop has turned.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const first = (stream: Readable | undefined): Promise<unknown> =>
      new Promise((resolve) => stream?.once('data', resolve).resume());
    expect(String(await first(channel))).toBe('early\n');
    expect(String(await first(output))).toBe('early\n');
    started.kill('SIGKILL');
    await started.exited;
  });

  it('is in its own session', async () => {
    const started = await startProcess('sh', ['-c', 'cut -d" " -f6 /proc/$$/stat >&3'], {
      channels: 1,
      fds: [],
      env: {},
      cwd: '/',
    });
    const session = new Promise((resolve) => started.channels[0]?.once('data', resolve).resume());
    expect(Number(String(await session))).toBe(started.pid);
    await started.exited;
  });

  it('can be killed', async () => {
    const started = await startProcess('sleep', ['60'], { channels: 1, fds: [], env: {}, cwd: '/' });
    started.kill('SIGKILL');
    await expect(started.exited).resolves.toEqual({ exitCode: undefined, signal: 'SIGKILL' });
  });

  it('is an error when it cannot be started', async () => {
    await expect(
      startProcess('/no/such/program', [], { channels: 1, fds: [], env: {}, cwd: '/' }),
    ).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
