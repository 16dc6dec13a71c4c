/** The pace at which calls start. */
import { EventEmitter } from 'node:events';
import type { Http2Server } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import { beforeEach, expect, it } from '@jest/globals';
import { paceCalls } from '../../../src/server/pacedCalls.js';

/** A stream of a connection. */
function stream(connection: string, number: number): EventEmitter {
  return Object.assign(new EventEmitter(), { session: connection, number, destroyed: false, aborted: false });
}

let server: EventEmitter;
let begun: string[];
/** As in the source. */
const AT_ONCE = 8;

beforeEach(() => {
  const own: string[] = [];
  begun = own;
  server = new EventEmitter();
  server.on('stream', ({ session, number }: { session: string; number: number }) => own.push(`${session}${number}`));
  paceCalls([server as Http2Server]);
});

it('starts a few calls at once, and the others later, in their order', async () => {
  for (let number = 0; number < 20; number += 1) server.emit('stream', stream('a', number));
  const all = Array.from({ length: 20 }, (_, number) => `a${number}`);
  expect(begun).toEqual(all.slice(0, AT_ONCE));
  await setImmediate();
  expect(begun).toEqual(all.slice(0, 2 * AT_ONCE));
  await setImmediate();
  expect(begun).toEqual(all);
  await setImmediate();
  server.emit('stream', stream('a', 20));
  expect(begun).toHaveLength(21);
});

it('serves connections in turns, however many calls one of them has', async () => {
  for (let number = 0; number < 250; number += 1) server.emit('stream', stream('a', number));
  server.emit('stream', stream('b', 0));
  expect(begun).not.toContain('b0');
  await setImmediate();
  expect(begun).toContain('b0');
  expect(begun).toHaveLength(2 * AT_ONCE);
});

it('does not start calls that were cancelled in the meantime', async () => {
  const last = stream('a', AT_ONCE);
  for (let number = 0; number < AT_ONCE; number += 1) server.emit('stream', stream('a', number));
  server.emit('stream', last);
  Object.assign(last, { aborted: true });
  last.emit('error', new Error('reset'));
  await setImmediate();
  expect(begun).toHaveLength(AT_ONCE);
});
