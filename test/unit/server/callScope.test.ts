import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { identityOf, scopeOf, type ServerCall } from '../../../src/server/callScope.js';

/** A call of which only the end matters. */
function fakeCall(deadline: number = Infinity): EventEmitter & ServerCall {
  return Object.assign(new EventEmitter(), {
    cancelled: false,
    getDeadline: () => deadline,
  }) as unknown as EventEmitter & ServerCall;
}

describe('the scope of a call', () => {
  it.each([
    ['the client is gone', Infinity, 'CANCELLED'],
    ['the deadline has passed', 1, 'DEADLINE_EXCEEDED'],
  ])('aborts when %s', (_what, deadline, reason) => {
    const call = fakeCall(deadline);
    const { signal } = scopeOf(call);
    expect(signal.aborted).toBe(false);
    call.emit('cancelled');
    expect(signal.reason).toMatchObject({ reason });
  });

  it('is aborted from the beginning if the client is gone already', () => {
    expect(scopeOf(Object.assign(fakeCall(), { cancelled: true })).signal.aborted).toBe(true);
  });

  it('leaves nothing behind in a call that is answered', () => {
    const call = fakeCall();
    const { signal, end } = scopeOf(call);
    end();
    expect(call.listenerCount('cancelled')).toBe(0);
    call.emit('cancelled');
    expect(signal.aborted).toBe(false);
  });
});

describe('the identity of a client', () => {
  const identityWith = (sslPeerCertificate: object | undefined): string | undefined =>
    identityOf({ getAuthContext: () => ({ sslPeerCertificate }) } as unknown as ServerCall);

  it.each([
    [
      'a URI goes before a common name',
      { subject: { CN: 'ali' }, subjectaltname: 'DNS:a, URI:spiffe://mesh/ali' },
      'spiffe://mesh/ali',
    ],
    ['a common name', { subject: { CN: 'ali' } }, 'ali'],
    [
      'the certificate, when it names nobody',
      { subject: {}, subjectaltname: 'DNS:a', fingerprint256: 'AA:BB' },
      'sha256:AA:BB',
    ],
    ['nobody without a certificate', undefined, undefined],
  ])('is %s', (_what, certificate, expected) => {
    expect(identityWith(certificate)).toBe(expected);
  });
});
