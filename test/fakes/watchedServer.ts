/**
 * The fake server as a program, which watches its own event loop. Prints its address; for each line of its input, it
 * prints the longest turn of the loop since the last, in milliseconds of the processor.
 *
 * Not wall-clock time, which includes that of other processes.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createForeignProbe } from '../../src/images/foreignProbe.js';
import { startFakeServer } from './server.js';

const NANOSECONDS = 1e6;

/** Processor time of the main thread, milliseconds. */
function processorTime(): number {
  return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[0]) / NANOSECONDS;
}

const server = await startFakeServer({
  allowed: [],
  debugService: false,
  imageRoots: process.argv.slice(2),
  // Where there is no qemu, an image is not measured, but the server has as much to do.
  probe: createForeignProbe({
    qemuBinary: `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
    users: { acquire: async () => undefined },
  }),
  limits: { memsizeMb: 4096, smp: 4, idleTimeoutMs: 86_400_000 },
  serverLimits: { handshakeMs: 1000, stallMs: 2000, callsPerClient: 5000 },
});

let longest = 0;
let before = processorTime();
setInterval(() => {
  const now = processorTime();
  longest = Math.max(longest, now - before);
  before = now;
}, 1);

process.stdout.write(`${server.address}\n`);
for await (const _line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${longest}\n`);
  longest = 0;
}
process.exit();
