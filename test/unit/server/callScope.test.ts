import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { scopeOf, type ServerCall } from '../../../src/server/callScope.js';

/** A call for which only the end matters. */
function fakeCall(deadline: number = Infinity): EventEmitter & ServerCall {
  return Object.assign(new EventEmitter(), {
    cancelled: false,
    getDeadline: () => deadline,
  }) as unknown as EventEmitter & ServerCall;
}

describe('the scope of a call', () => {
  it.each([
    ['the client has disconnected', Infinity, 'CANCELLED'],
    ['the deadline has passed', 1, 'DEADLINE_EXCEEDED'],
  ])('aborts when %s', (_what, deadline, reason) => {
    const call = fakeCall(deadline);
    const { signal } = scopeOf(call);
    expect(signal.aborted).toBe(false);
    call.emit('cancelled');
    expect(signal.reason).toMatchObject({ reason });
  });

  it('is aborted from the start if the client has already disconnected', () => {
    expect(scopeOf(Object.assign(fakeCall(), { cancelled: true })).signal.aborted).toBe(true);
  });

  it('leaves nothing behind in a call that is answered', () => {
    const call = fakeCall();
    const scope = scopeOf(call);
    const { signal } = scope;
    scope.end();
    expect(call.listenerCount('cancelled')).toBe(0);
    call.emit('cancelled');
    expect(signal.aborted).toBe(false);
  });
});
