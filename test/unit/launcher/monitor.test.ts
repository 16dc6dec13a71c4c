import { describe, expect, it } from '@jest/globals';
import { connectMonitor } from '../../../src/launcher/monitor.js';
import type { QemuExit, QemuProcess } from '../../../src/qemu/qemuProcess.js';
import { failureOf } from '../../fakes/connected.js';
import { NEGOTIATION, scriptedMonitor } from '../qemu/scriptedMonitor.js';

const never = new AbortController().signal;
const KILLED: QemuExit = { exitCode: undefined, signal: 'SIGKILL', qemuMessages: '' };
const machine = { accelerator: 'tcg', memsizeMb: 512 } as const;

describe('a qemu that ends as soon as its monitor answers', () => {
  it('is reported as any that does not start, not as a defect of the server', async () => {
    const { stream } = scriptedMonitor([NEGOTIATION]);
    const write = stream.write.bind(stream) as (line: string) => boolean;
    // It is gone when it is asked what it has opened.
    stream.write = ((line: string) => {
      if (!line.includes('query-named-block-nodes')) return write(line);
      stream.destroy();
      return false;
    }) as typeof stream.write;
    const qemu = { monitor: stream, stop: async () => KILLED } as unknown as QemuProcess;
    const error = await failureOf(connectMonitor(qemu, machine, { explain: () => undefined }, never));
    expect(error).toMatchObject({ reason: 'QEMU_FAILED', details: { metadata: { signal: 'SIGKILL' } } });
  });
});
