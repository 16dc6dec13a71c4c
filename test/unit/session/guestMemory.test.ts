import { expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { knowingMemory } from '../../../src/session/guestMemory.js';

const KILLED = Buffer.from('[ 1.2] Out of memory: Killed process 186 (tail) total-vm:442776kB\r\n');
const killed = new GuestfsError('DAEMON_ERROR', 'Killed');

it('a call whose program was killed for want of memory says so', () => {
  expect(knowingMemory(killed, () => KILLED)).toMatchObject({
    reason: 'OUT_OF_MEMORY',
    message: "Killed; the appliance has run out of memory and killed 'tail': give the session a larger memsize",
  });
});

it('other errors are unchanged', () => {
  const errno = new GuestfsError('ENOENT', 'no such file');
  const defect = new TypeError('defect');
  expect(knowingMemory(killed, () => Buffer.from('nothing of the kind'))).toBe(killed);
  expect(knowingMemory(errno, () => KILLED)).toBe(errno);
  expect(knowingMemory(defect, () => KILLED)).toBe(defect);
});
