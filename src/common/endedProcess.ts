/** What remains of a process: its last words, and its streams. */
import { once } from 'node:events';
import type { StartedProcess } from './subprocess.js';
import { inTime } from './waiting.js';

const MESSAGES_LIMIT = 4096;
const SOON_MS = 1000;

/** Collects the end of a process's output; returns its last line so far. */
export function lastWordsOf({ outputs }: Pick<StartedProcess, 'outputs'>): () => string {
  let said = '';
  for (const output of outputs)
    output
      .on('data', (bytes: Buffer) => {
        said = (said + bytes.toString('utf8')).slice(-MESSAGES_LIMIT);
      })
      .resume();
  return () => said.trim().split('\n').at(-1) ?? '';
}

/**
 * Its last words, of a process that is about to end: its other connections may close before the end of its output is read.
 * @param said from {@link lastWordsOf}; what it returns by then if the process does not end soon
 */
export async function finalWordsOf({ outputs }: Pick<StartedProcess, 'outputs'>, said: () => string): Promise<string> {
  const open = outputs.filter((output) => !output.closed);
  await inTime(SOON_MS, undefined, Promise.all(open.map((output) => once(output, 'close'))));
  return said();
}

/** Ends a process, waits for it, and closes what connects it to this one. */
export async function endProcess(process: StartedProcess): Promise<void> {
  process.kill('SIGKILL');
  await process.exited;
  const streams = [...process.channels, ...process.outputs].filter((stream) => !stream.closed);
  await Promise.all(streams.map((stream) => once(stream.destroy(), 'close')));
}
