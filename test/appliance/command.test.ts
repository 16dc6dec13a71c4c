import { describe, expect, it } from '@jest/globals';

import { BuildCommandError, lastLines, run } from '../../appliance-builder/command.js';
import { quiet } from './context.js';

describe('run', () => {
  it('returns standard output', async () => {
    expect(await run(quiet(), 'sh', ['-c', 'echo out; echo err >&2'])).toBe('out');
  });

  it('shows lines while the command runs', async () => {
    const lines: string[] = [];
    await run(quiet(), 'sh', ['-c', 'echo one; echo two >&2'], { onLine: (line) => lines.push(line) });
    expect(lines.sort()).toEqual(['one', 'two']);
  });

  it('fails with the command, how it ended, and the end of both streams', async () => {
    const failure = run(quiet(), 'sh', ['-c', 'seq 100; echo "the reason" >&2; exit 7']);
    await expect(failure).rejects.toThrow(BuildCommandError);
    await expect(failure).rejects.toMatchObject({ outcome: 'exited with 7' });
    const { message } = (await failure.catch((error: unknown) => error)) as Error;
    expect(message).toContain("sh -c 'seq 100");
    expect(message).toMatch(/\n99\n100\nthe reason$/);
    expect(message).not.toContain('\n50\n');
  });

  it('names a missing program', async () => {
    await expect(run(quiet(), 'no-such-program-here', [])).rejects.toMatchObject({ outcome: 'no such program' });
  });

  it('kills the command when the build is cancelled', async () => {
    const stop = new AbortController();
    const running = run(quiet(stop.signal), 'sleep', ['600']);
    setTimeout(() => stop.abort(new Error('enough')), 50);
    await expect(running).rejects.toThrow('enough');
  });
});

describe('lastLines', () => {
  it('keeps the end and drops empty lines after it', () => {
    expect(lastLines('a\nb\nc\n\n', 2)).toBe('b\nc');
    expect(lastLines('', 2)).toBe('');
  });
});
