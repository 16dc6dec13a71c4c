import { describe, expect, it } from '@jest/globals';
import { EventBus, MAX_SUBSCRIPTIONS } from '../../../src/events/eventBus.js';
import type { DeliveredEvent, EventSubscription } from '../../../src/events/eventSubscription.js';
import { EVENT_KINDS, type SessionEvent } from '../../../src/events/sessionEvent.js';
import { quiet } from '../../fakes/duplexPair.js';

function warning(message: string): SessionEvent {
  return { kind: 'warning', message };
}

function messageOf({ event }: DeliveredEvent): string {
  return 'message' in event ? event.message : event.kind;
}

/** All events of a subscription until it ends. */
async function all(subscription: EventSubscription): Promise<DeliveredEvent[]> {
  const events: DeliveredEvent[] = [];
  for await (const event of subscription) events.push(event);
  return events;
}

describe('EventBus', () => {
  it('delivers the requested kinds to every subscriber, numbered over all events', async () => {
    const bus = new EventBus();
    const everything = bus.subscribe([]);
    const some = bus.subscribe(['warning', 'close']);
    bus.emit({ kind: 'enter', message: 'mkdir' });
    bus.emit(warning('careful'));
    bus.emit({ kind: 'close' });
    bus.close();
    expect((await all(everything)).map((event) => [event.sequence, messageOf(event), event.lost])).toEqual([
      [1n, 'mkdir', 0n],
      [2n, 'careful', 0n],
      [3n, 'close', 0n],
    ]);
    expect((await all(some)).map((event) => [event.sequence, messageOf(event)])).toEqual([
      [2n, 'careful'],
      [3n, 'close'],
    ]);
  });

  it('delivers no earlier events to a subscriber, and keeps counting', async () => {
    const bus = new EventBus();
    bus.emit(warning('before'));
    const late = bus.subscribe([]);
    bus.emit(warning('after'));
    bus.close();
    expect((await all(late)).map((event) => [event.sequence, messageOf(event)])).toEqual([[2n, 'after']]);
  });

  it('delivers to a waiting subscriber', async () => {
    const bus = new EventBus();
    const events = bus.subscribe([])[Symbol.asyncIterator]();
    const first = events.next();
    await quiet();
    bus.emit(warning('now'));
    expect((await first).value).toMatchObject({ event: { message: 'now' }, sequence: 1n, lost: 0n });
    const second = events.next();
    await quiet();
    bus.close();
    expect((await second).done).toBe(true);
  });

  it('drops events for a slow subscriber, and reports how many were lost at that point', async () => {
    const bus = new EventBus();
    const slow = bus.subscribe([])[Symbol.asyncIterator]();
    for (let count = 0; count < 1024 + 7; count += 1) bus.emit(warning(String(count)));
    for (let count = 0; count < 1024; count += 1) {
      const { value } = await slow.next();
      expect(value && [messageOf(value), value.lost]).toEqual([String(count), 0n]);
    }
    bus.emit(warning('next'));
    bus.emit(warning('after it'));
    expect((await slow.next()).value).toMatchObject({ event: { message: 'next' }, lost: 7n, sequence: 1032n });
    expect((await slow.next()).value).toMatchObject({ event: { message: 'after it' }, lost: 0n });
  });

  it('keeps no more than half a mebibyte of text for it, but at least one event', async () => {
    const bus = new EventBus();
    const slow = bus.subscribe([])[Symbol.asyncIterator]();
    const large = 'x'.repeat(64 * 1024);
    for (let count = 0; count < 1000; count += 1) bus.emit(warning(large));
    let delivered = 0;
    for (; delivered < 8; delivered += 1) expect((await slow.next()).value).toMatchObject({ lost: 0n });
    bus.emit(warning(`${large}${'y'.repeat(1024 * 1024)}`));
    bus.emit(warning('small'));
    expect((await slow.next()).value).toMatchObject({ lost: BigInt(1000 - delivered) });
    bus.emit(warning('after'));
    expect((await slow.next()).value).toMatchObject({ event: { message: 'after' }, lost: 1n });
  });

  it('has a limited number of subscribers', () => {
    const bus = new EventBus();
    const all = Array.from({ length: MAX_SUBSCRIPTIONS }, () => bus.subscribe([]));
    expect(() => bus.subscribe([])).toThrow(expect.objectContaining({ reason: 'LIMIT_EXCEEDED' }));
    all[0]?.end();
    bus.subscribe([]);
  });

  it('counts as lost only what the subscriber requested', async () => {
    const bus = new EventBus();
    const slow = bus.subscribe(['warning'])[Symbol.asyncIterator]();
    for (let count = 0; count < 1024 + 3; count += 1) {
      bus.emit(warning(String(count)));
      bus.emit({ kind: 'enter', message: 'x' });
    }
    for (let count = 0; count < 1024; count += 1) await slow.next();
    bus.emit(warning('next'));
    expect((await slow.next()).value).toMatchObject({ lost: 3n });
  });

  it('does not let a slow subscriber slow another', async () => {
    const bus = new EventBus();
    bus.subscribe([]);
    const quick = bus.subscribe([])[Symbol.asyncIterator]();
    for (let count = 0; count < 5000; count += 1) {
      bus.emit(warning(String(count)));
      expect((await quick.next()).value).toMatchObject({ lost: 0n, sequence: BigInt(count + 1) });
    }
  });

  it('forgets a subscriber who leaves its loop', async () => {
    const bus = new EventBus();
    const subscription = bus.subscribe(['warning']);
    bus.emit(warning('one'));
    for await (const event of subscription) {
      expect(messageOf(event)).toBe('one');
      break;
    }
    expect(bus.wants('warning')).toBe(false);
  });

  it('forgets a subscriber that ends while it waits', async () => {
    const bus = new EventBus();
    const subscription = bus.subscribe([]);
    const events = all(subscription);
    await quiet();
    expect(bus.wants('trace')).toBe(true);
    subscription.end();
    expect(await events).toEqual([]);
    expect(bus.wants('trace')).toBe(false);
  });

  it('knows which kinds have subscribers', () => {
    const bus = new EventBus();
    for (const kind of EVENT_KINDS) expect(bus.wants(kind)).toBe(false);
    const subscription = bus.subscribe(['progress']);
    expect(EVENT_KINDS.filter((kind) => bus.wants(kind))).toEqual(['progress']);
    bus.subscribe([]);
    for (const kind of EVENT_KINDS) expect(bus.wants(kind)).toBe(true);
    subscription.end();
    expect(bus.wants('appliance')).toBe(true);
  });

  it('immediately ends a subscription to a closed session', async () => {
    const bus = new EventBus();
    bus.close();
    expect(await all(bus.subscribe([]))).toEqual([]);
  });

  it('delivers nothing that is emitted after its close', async () => {
    const bus = new EventBus();
    const subscription = bus.subscribe([]);
    bus.emit(warning('before'));
    bus.close();
    bus.emit(warning('after'));
    expect((await all(subscription)).map(messageOf)).toEqual(['before']);
  });
});
