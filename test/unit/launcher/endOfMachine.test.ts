import { describe, expect, it } from '@jest/globals';
import type { MachineExit } from '../../../src/launcher/launcher.js';
import { causeOfEnd, killedForMemory, type EndCause } from '../../../src/launcher/endOfMachine.js';

const KILLED = '[   39.39] Out of memory: Killed process 179 (NAME) total-vm:601376kB, anon-rss:229248kB\r\n';
const killed = (name: string): string => KILLED.replace('NAME', name);

function cause(console: string, exit: Partial<MachineExit> = { exitCode: 0 }): EndCause | undefined {
  return causeOfEnd({
    console,
    exit: { exitCode: undefined, signal: undefined, qemuMessages: '', ...exit },
    memsizeMb: 512,
  });
}

describe('the cause of the end of an appliance', () => {
  it('is a kernel panic, with its line', () => {
    const panic = '[ 5.5] Kernel panic - not syncing: sysrq triggered crash\r\n[ 5.6] CPU: 0 PID: 1\r\n';
    expect(cause(panic)).toMatchObject({
      reason: 'KERNEL_PANIC',
      what: "the appliance's kernel panicked (sysrq triggered crash); GetLog has its console output",
    });
  });

  it.each([
    ['the daemon was killed', killed('guestfsd')],
    ['nothing could be killed', 'Kernel panic - not syncing: System is deadlocked on memory\n'],
    [
      'its init was killed',
      `${killed('init')}Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\n`,
    ],
  ])('is a lack of memory: %s', (_what, console) => {
    expect(cause(console)).toMatchObject({ reason: 'OUT_OF_MEMORY', metadata: { memsize: '512' } });
  });

  it('is not the lack of memory of a program that was killed', () => {
    expect(cause(killed('tar'))).toBeUndefined();
    expect(killedForMemory(killed('tar'))).toBe('tar');
    expect(killedForMemory('tar: done')).toBeUndefined();
  });

  it('is the signal that ended qemu, or its exit code', () => {
    expect(cause('', { signal: 'SIGKILL' })).toMatchObject({
      reason: 'OUTCOME_UNKNOWN',
      what: 'qemu was terminated by SIGKILL; the host may be out of memory',
      metadata: { signal: 'SIGKILL' },
    });
    expect(cause('', { exitCode: 1, qemuMessages: 'first\nqemu: it broke\u001b[1m\n' })?.what).toBe(
      'qemu exited with exit code 1 (qemu: it broke)',
    );
  });

  it('is unknown if nothing shows it', () => {
    expect(cause('Rebooting.\r\n')).toBeUndefined();
    expect(causeOfEnd({ console: '', exit: undefined, memsizeMb: 1 })).toBeUndefined();
  });

  it('quotes little, in printable form', () => {
    const { what } = cause(`Kernel panic - not syncing: ${'\u0007x'.repeat(5000)}\n`) as { what: string };
    expect(what.length).toBeLessThan(400);
    expect(what).not.toContain('\u0007');
  });
});
