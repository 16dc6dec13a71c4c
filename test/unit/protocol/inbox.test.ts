/** The inbox and the outbox alone; flow.test.ts and lostDaemon.test.ts test them in a connection. */
import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { Inbox } from '../../../src/protocol/inbox.js';
import { FILE_END_LENGTH } from '../../../src/protocol/messages.js';
import { Outbox } from '../../../src/protocol/outbox.js';
import { failureOf } from '../../fakes/connected.js';
import { duplexPair, quiet } from '../../fakes/duplexPair.js';

const gone = new GuestfsError('OUTCOME_UNKNOWN', 'the appliance ended');

describe('an inbox', () => {
  it('returns messages in order, both queued and later ones', async () => {
    const inbox = new Inbox(duplexPair()[0]);
    expect(inbox.isEmpty).toBe(true);
    inbox.push(Buffer.from('one'));
    expect([inbox.isEmpty, inbox.peek()?.toString()]).toEqual([false, 'one']);
    expect((await inbox.next()).toString()).toBe('one');
    expect(inbox.take()).toBeUndefined();
    const next = inbox.next();
    inbox.push(Buffer.from('two'));
    expect((await next).toString()).toBe('two');
  });

  it('pauses its channel while much is queued, in bytes or in empty messages', () => {
    for (const [message, most] of [
      [Buffer.alloc(8192), 32],
      [Buffer.alloc(0), 1024],
    ] as const) {
      const [channel] = duplexPair();
      channel.resume();
      const inbox = new Inbox(channel);
      let pushed = 0;
      while (!channel.isPaused()) {
        inbox.push(message);
        pushed += 1;
        inbox.holdBack();
      }
      expect(pushed).toBeLessThanOrEqual(most);
      expect(pushed).toBeGreaterThan(most * 0.9);
      inbox.take();
      expect(channel.isPaused()).toBe(false);
    }
  });

  it('collects until there is enough, or the end of a file, and never for long', async () => {
    const inbox = new Inbox(duplexPair()[0]);
    let gathered = false;
    const gather = (): Promise<void> => {
      gathered = false;
      return inbox.gather(1000).then(() => {
        gathered = true;
      });
    };
    const enough = gather();
    inbox.push(Buffer.alloc(10));
    await Promise.resolve();
    expect(gathered).toBe(false);
    inbox.push(Buffer.alloc(1000));
    await enough;
    inbox.take();
    inbox.take();
    const end = gather();
    inbox.push(Buffer.alloc(FILE_END_LENGTH));
    await end;
    await gather(); // the end is there
    inbox.take();
    await gather(); // nothing comes
  });

  it('that is closed returns the queued messages, and then its error, even to waiting readers', async () => {
    const inbox = new Inbox(duplexPair()[0]);
    inbox.push(Buffer.from('last'));
    const gathering = inbox.gather(1000);
    inbox.close(gone);
    await gathering;
    await inbox.gather(1000);
    await inbox.rest();
    expect((await inbox.next()).toString()).toBe('last');
    expect(await failureOf(inbox.next())).toBe(gone);

    const other = new Inbox(duplexPair()[0]);
    const waiting = failureOf(other.next());
    other.close(gone);
    expect(await waiting).toBe(gone);
  });
});

describe('an outbox', () => {
  it('that writes through waits until the bytes are out of their buffer, or it is closed', async () => {
    const [channel, other] = duplexPair();
    const outbox = new Outbox(channel);
    const bytes = Buffer.from('once');
    other.resume();
    let came = '';
    other.on('data', (data: Buffer) => (came += data.toString()));
    await outbox.writeThrough(bytes);
    bytes.fill('x');
    await quiet();
    expect(came).toBe('once');
    other.pause();
    await quiet();
    const waiting = failureOf(outbox.writeThrough(Buffer.alloc(1 << 20)));
    await quiet();
    outbox.close(gone);
    expect(await waiting).toBe(gone);
    channel.destroy();
  });

  it('waits while there is no room, until there is, or until it is closed', async () => {
    const [channel, other] = duplexPair();
    const outbox = new Outbox(channel);
    const large = Buffer.alloc(1 << 20);
    let written = false;
    const first = outbox.write(large).then(() => {
      written = true;
    });
    await quiet();
    expect(written).toBe(false);
    other.resume();
    await first;
    other.pause();
    const waiting = failureOf(outbox.write(large));
    await quiet();
    outbox.close(gone);
    expect(await waiting).toBe(gone);
    expect(await failureOf(outbox.write(Buffer.from('late')))).toBe(gone);
    expect(await failureOf(outbox.writeThrough(Buffer.from('late')))).toBe(gone);
    channel.destroy();
  });
});
