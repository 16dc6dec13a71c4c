/** On what it was measured. */
import { execFile } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { promisify } from 'node:util';

async function firstLine(program: string, ...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args);
    return stdout.split('\n')[0] ?? '';
  } catch {
    return 'not there';
  }
}

export async function machineFacts(): Promise<Record<string, string | number>> {
  return {
    processor: cpus()[0]?.model ?? '',
    processors: cpus().length,
    memoryMiB: Math.round(totalmem() / (1024 * 1024)),
    kernel: release(),
    node: process.version,
    qemu: await firstLine('qemu-system-x86_64', '--version'),
    accelerator: 'tcg',
    // Others at work make all times longer; turns taken one by one keep the ratios honest.
    load: loadavg()[0] ?? 0,
  };
}
