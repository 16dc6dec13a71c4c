/** What remains of a process: its last words, and its streams. */
import { once } from 'node:events';
import type { StartedProcess } from './subprocess.js';

const MESSAGES_LIMIT = 4096;

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

/** Ends a process, waits for it, and closes what connects it to this one. */
export async function endProcess(process: StartedProcess): Promise<void> {
  process.kill('SIGKILL');
  await process.exited;
  const streams = [...process.channels, ...process.outputs].filter((stream) => !stream.closed);
  await Promise.all(streams.map((stream) => once(stream.destroy(), 'close')));
}
