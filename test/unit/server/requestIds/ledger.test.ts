import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EncodedAnswer } from '../../../../src/server/decoding.js';
import { KEPT_MS, Ledger, SCOPE_BYTES, TOTAL_BYTES, type IdOwner } from '../../../../src/server/requestIds/ledger.js';
import { KEPT_ANSWER_LIMIT, type Outcome } from '../../../../src/server/requestIds/outcome.js';

const known = { rpc: 'mkdir', fingerprint: 'f' };

function success(size = 0): Outcome {
  return { kind: 'success', answer: new EncodedAnswer(Buffer.alloc(size)), opening: undefined };
}

const failure = (runsAgain: boolean): Outcome => ({
  kind: 'failure',
  status: { code: status.UNKNOWN, details: 'no', metadata: new Metadata() },
  runsAgain,
});

let ledger: Ledger;
beforeEach(() => {
  jest.useFakeTimers();
  ledger = new Ledger();
});
afterEach(() => {
  ledger.close();
  jest.useRealTimers();
});

function make(owner: IdOwner, id: string, outcome: Outcome = success()): void {
  ledger.end(owner, ledger.begin(owner, id, known, false), outcome);
}

describe('ended calls', () => {
  it('take bounded memory, however many there are and whoever made them', () => {
    for (let id = 0; id < 100_000; id += 1) make('one', `id-${id}`);
    expect(ledger.bytes).toBeLessThanOrEqual(SCOPE_BYTES);
    expect(ledger.find('one', 'id-0')).toBeUndefined();
    expect(ledger.find('one', 'id-99999')).toBeDefined();
    for (let id = 0; id < 20_000; id += 1) make(`owner ${id}`, 'id', success(KEPT_ANSWER_LIMIT));
    expect(ledger.bytes).toBeLessThanOrEqual(TOTAL_BYTES);
    expect(ledger.owners).toBeLessThan(TOTAL_BYTES / KEPT_ANSWER_LIMIT + 10);
  });

  it('of a client that makes many do not push out those of another', () => {
    const others = Array.from({ length: 20 }, (_, index) => `owner ${index}`);
    for (const owner of others) for (let id = 0; id < 20; id += 1) make(owner, `id-${id}`);
    const many = Array.from({ length: 30 }, (_, index) => `greedy ${index}`);
    for (const owner of many) for (let id = 0; id < 100; id += 1) make(owner, `id-${id}`, success(KEPT_ANSWER_LIMIT));
    const left = others.flatMap((owner) =>
      Array.from({ length: 20 }, (_, id) => ledger.find(owner, `id-${id}`)).filter((call) => call !== undefined),
    );
    expect(left).toHaveLength(400);
    expect(ledger.bytes).toBeLessThanOrEqual(TOTAL_BYTES);
  });

  it('are forgotten after a time, asked for or not', () => {
    make('one', 'a');
    jest.advanceTimersByTime(KEPT_MS - 1);
    expect(ledger.find('one', 'a')).toBeDefined();
    jest.advanceTimersByTime(1);
    expect(ledger.find('one', 'a')).toBeUndefined();
    make('two', 'b');
    jest.advanceTimersByTime(KEPT_MS + 60_000);
    expect(ledger.bytes).toBe(0);
    expect(ledger.owners).toBe(0);
  });

  it('are forgotten with their session', () => {
    const session = {};
    make(session, 'a');
    const running = ledger.begin(session, 'b', known, false);
    make('identity', 'a');
    ledger.keepOnly((owner) => typeof owner === 'string');
    ledger.end(session, running, success());
    expect(ledger.find(session, 'a')).toBeUndefined();
    expect(ledger.find('identity', 'a')).toBeDefined();
    expect(ledger.owners).toBe(1);
  });

  it('are not remembered if they are to be made again', () => {
    make('one', 'a', failure(true));
    expect(ledger.find('one', 'a')).toBeUndefined();
    make('one', 'b', failure(false));
    expect(ledger.find('one', 'b')).toMatchObject({ outcome: { kind: 'failure' } });
  });
});
