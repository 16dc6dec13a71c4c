/** The host of the measurement. */
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
    // Other load makes all times longer; measuring in turn keeps the ratios fair.
    load: loadavg()[0] ?? 0,
  };
}
