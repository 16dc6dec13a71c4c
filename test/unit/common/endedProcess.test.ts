/** What is left of a process that ends. */
import { PassThrough } from 'node:stream';
import { expect, it } from '@jest/globals';
import { finalWordsOf, lastWordsOf } from '../../../src/common/endedProcess.js';

it('has its last words although its other connections closed before they were read', async () => {
  const outputs = [new PassThrough(), new PassThrough()];
  const said = lastWordsOf({ outputs });
  const words = finalWordsOf({ outputs }, said);
  expect(said()).toBe('');
  outputs[1]?.end('first\nlast\n');
  outputs[0]?.end();
  expect(await words).toBe('last');
});

it('has what it said so far if it does not end', async () => {
  const outputs = [new PassThrough()];
  const said = lastWordsOf({ outputs });
  outputs[0]?.write('so far\n');
  expect(await finalWordsOf({ outputs }, said)).toBe('so far');
});
