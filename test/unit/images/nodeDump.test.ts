import { describe, expect, it } from '@jest/globals';
import { answersIn, dumpCommand, dumpIn } from '../../../src/images/nodeDump.js';

/** Bytes in the form in which qemu prints them. */
function dump(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const letters = row.toString('latin1').replace(/[^A-Za-z0-9]/g, '.');
    text += `${at.toString(16).padStart(8, '0')}:  ${row.toString('hex').replace(/../g, '$& ')} ${letters}\n`;
  }
  return text;
}

const BYTES = Buffer.from(Array.from({ length: 600 }, (_, index) => (index * 7) % 256));
const GREETING = '{"QMP": {"version": {}}}\r\n{"return": {}}\r\n';
const ANSWER = '{"return": "{}"}\r\n';
const TOTAL = 'read 600/600 bytes at offset 0\n600 bytes, 1 ops; 00.00 sec (1 MiB/sec and 10 ops/sec)\n';

describe("qemu's output", () => {
  it('is requested by the name of the node', () => {
    expect(dumpCommand('image', 512)).toEqual({
      execute: 'human-monitor-command',
      arguments: { 'command-line': 'qemu-io image "read -v 0 512"' },
    });
  });

  it.each([0, 8, 11, 40, 75, 400])('is reassembled if an answer comes after %d characters of it', (at) => {
    const text = dump(BYTES);
    const printed = GREETING + text.slice(0, at) + ANSWER + text.slice(at) + TOTAL + ANSWER;
    expect(dumpIn(printed, BYTES.length)).toEqual(BYTES);
    expect(answersIn(printed).map((answer) => JSON.parse(answer) as unknown)).toEqual([
      { QMP: { version: {} } },
      { return: {} },
      { return: '{}' },
      { return: '{}' },
    ]);
  });

  it.each([
    ['nothing', ''],
    ['an error', 'read failed: Input/output error\n'],
    ['too little', dump(BYTES.subarray(0, 592))],
    ['too much', dump(Buffer.concat([BYTES, BYTES]))],
    ['the same twice', dump(BYTES.subarray(0, 304)) + dump(BYTES.subarray(0, 296))],
    ['rows out of order', dump(BYTES).split('\n').reverse().join('\n')],
    ['no numbers', dump(BYTES).replaceAll('0', 'z')],
  ])('is not accepted if it is %s', (_what, printed) => {
    expect(dumpIn(GREETING + printed, BYTES.length)).toBeUndefined();
  });
});
