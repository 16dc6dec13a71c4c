/**
 * Starts programs in each way, with no to many free descriptors, and prints a line for each: `started`, or the reason
 * for the failure. With the argument `unchecked`, descriptors are not counted, so that the system itself refuses.
 */
import { closeSync, openSync } from 'node:fs';
import { Descriptors } from '../../src/common/descriptors.js';
import { GuestfsError } from '../../src/common/errors.js';
import { runTool, startProcess } from '../../src/common/subprocess.js';

const unchecked = process.argv[2] === 'unchecked';
if (unchecked) Descriptors.prototype.claim = () => () => undefined;

const signal = new AbortController().signal;
const process_ = (channels: number, extraChannel: boolean) => async (): Promise<void> => {
  const started = await startProcess('sleep', ['60'], { channels, extraChannel, fds: [], env: {}, cwd: '/' });
  started.kill('SIGKILL');
  await started.exited;
};
const ways: readonly (() => Promise<unknown>)[] = [
  () => runTool('true', [], { timeoutMs: 5000, maxOutputBytes: 1000, signal }),
  process_(4, false),
  process_(4, true),
];

// Code that is loaded on first use needs descriptors itself.
for (const way of ways) await way();

for (let free = 0; free < (unchecked ? 20 : 100); free += 1) {
  for (const [number, way] of ways.entries()) {
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      // None are left.
    }
    for (const fd of taken.splice(0, free)) closeSync(fd);
    const outcome = await way().then(
      () => 'started',
      (error: unknown) => GuestfsError.from(error).reason,
    );
    for (const fd of taken) closeSync(fd);
    process.stdout.write(`${free} ${number} ${outcome}\n`);
  }
}
