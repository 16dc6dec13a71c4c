import { describe, expect, it } from '@jest/globals';
import { QmpClient, QmpClosedError, QmpError } from '../../../src/qemu/qmpClient.js';
import { QmpFramer, QmpProtocolError } from '../../../src/qemu/qmpFramer.js';
import { lateSignal } from '../../support/lateSignal.js';
import { GREETING, NEGOTIATION, scriptedMonitor } from './scriptedMonitor.js';

const never = new AbortController().signal;

describe('connecting', () => {
  it('waits for the greeting and negotiates', async () => {
    const monitor = scriptedMonitor([NEGOTIATION]);
    await QmpClient.connect(monitor.stream, never);
    expect(monitor.remaining()).toBe(0);
    expect(monitor.surprises).toEqual([]);
  });

  it.each([
    ['ends before the greeting', '', QmpClosedError],
    ['says what is not JSON', 'HTTP/1.1 200 OK\n', QmpProtocolError],
    ['says JSON that is no object', '[1]\n', QmpProtocolError],
    ['answers before it is asked', '{"return": {}, "id": 1}\n', QmpProtocolError],
  ])('fails when the peer %s', async (_what, greeting, kind) => {
    const monitor = scriptedMonitor([], { greeting });
    if (greeting === '') setImmediate(() => monitor.stream.push(null));
    await expect(QmpClient.connect(monitor.stream, never)).rejects.toBeInstanceOf(kind);
    expect(monitor.stream.destroyed).toBe(true);
  });

  it.each(['ended', 'destroyed'])('fails when the stream has %s before', async (how) => {
    const { stream } = scriptedMonitor([], { greeting: '' });
    stream.resume();
    if (how === 'ended') stream.push(null);
    else stream.destroy();
    await new Promise((resolve) => stream.once(how === 'ended' ? 'end' : 'close', resolve));
    await expect(QmpClient.connect(stream, never)).rejects.toBeInstanceOf(QmpClosedError);
  });

  it('gives up when aborted, and closes the stream', async () => {
    const monitor = scriptedMonitor([], { greeting: '' });
    const controller = new AbortController();
    setImmediate(() => controller.abort(new Error('no time')));
    await expect(QmpClient.connect(monitor.stream, controller.signal)).rejects.toThrow('no time');
    expect(monitor.stream.destroyed).toBe(true);
  });
});

describe('commands', () => {
  it('pairs answers with commands by id, in whatever order and between events, one byte at a time', async () => {
    const monitor = scriptedMonitor(
      [
        NEGOTIATION,
        { expect: 'query-status', say: [] },
        {
          expect: 'query-name',
          arguments: { a: 1 },
          say: [
            '{"event": "RESUME", "data": {}}',
            '{"return": {"name": "ü"}, "id": 3}',
            '{"return": {"running": true}, "id": 2}',
          ],
        },
      ],
      { bytewise: true },
    );
    const client = await QmpClient.connect(monitor.stream, never);
    const events: string[] = [];
    client.onEvent(({ event }) => events.push(event));
    const answers = await Promise.all([client.execute('query-status'), client.execute('query-name', { a: 1 })]);
    expect(answers).toEqual([{ running: true }, { name: 'ü' }]);
    expect(events).toEqual(['RESUME']);
    expect(monitor.surprises).toEqual([]);
  });

  it("passes on qemu's refusal", async () => {
    const monitor = scriptedMonitor([
      NEGOTIATION,
      { expect: 'device_add', say: ['{"error": {"class": "GenericError", "desc": "no bus"}, "id": $id}'] },
    ]);
    const client = await QmpClient.connect(monitor.stream, never);
    const error = await client.execute('device_add').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(QmpError);
    expect(error).toMatchObject({ command: 'device_add', errorClass: 'GenericError', description: 'no bus' });
  });

  it('fails open commands when the connection ends, and later ones at once', async () => {
    const monitor = scriptedMonitor([NEGOTIATION, { expect: 'quit', say: [], hangUp: true }]);
    const client = await QmpClient.connect(monitor.stream, never);
    await expect(client.execute('quit')).rejects.toBeInstanceOf(QmpClosedError);
    await expect(client.execute('query-status')).rejects.toBeInstanceOf(QmpClosedError);
  });

  it('drops the answer to an aborted command and stays usable', async () => {
    const monitor = scriptedMonitor([
      NEGOTIATION,
      { expect: 'migrate', say: [] },
      { expect: 'query-status', say: ['{"return": 1, "id": 2}', '{"return": 2, "id": 3}'] },
    ]);
    const client = await QmpClient.connect(monitor.stream, never);
    await expect(client.execute('migrate', undefined, lateSignal(10))).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    await expect(client.execute('query-status')).resolves.toBe(2);
  });

  it('ends the connection at an answer nobody asked for', async () => {
    const monitor = scriptedMonitor([NEGOTIATION, { expect: 'query-status', say: ['{"return": 1, "id": 99}'] }]);
    const client = await QmpClient.connect(monitor.stream, never);
    await expect(client.execute('query-status')).rejects.toBeInstanceOf(QmpProtocolError);
  });

  it('ends the connection at a second greeting', async () => {
    const monitor = scriptedMonitor([NEGOTIATION, { expect: 'query-status', say: [GREETING.trim()] }]);
    const client = await QmpClient.connect(monitor.stream, never);
    await expect(client.execute('query-status')).rejects.toBeInstanceOf(QmpProtocolError);
  });

  it('fails with what it was closed for', async () => {
    const monitor = scriptedMonitor([NEGOTIATION]);
    const client = await QmpClient.connect(monitor.stream, never);
    client.close();
    client.close();
    await expect(client.execute('query-status')).rejects.toBeInstanceOf(QmpClosedError);
  });
});

describe('events', () => {
  it('are waited for by what they say', async () => {
    const monitor = scriptedMonitor([NEGOTIATION]);
    const client = await QmpClient.connect(monitor.stream, never);
    const deleted = client.waitForEvent(
      ({ event, data }) => event === 'DEVICE_DELETED' && data['device'] === 'sd1',
      never,
    );
    monitor.say(
      '{"event": "DEVICE_DELETED", "data": {"device": "sd0"}}\n{"event": "DEVICE_DELETED", "data": {"device": "sd1"}}\n',
    );
    await expect(deleted).resolves.toEqual({ event: 'DEVICE_DELETED', data: { device: 'sd1' } });
  });

  it('no longer come when the connection ends', async () => {
    const monitor = scriptedMonitor([NEGOTIATION]);
    const client = await QmpClient.connect(monitor.stream, never);
    const event = client.waitForEvent(() => true, never);
    monitor.stream.push(null);
    await expect(event).rejects.toBeInstanceOf(QmpClosedError);
  });

  it('are waited for until aborted', async () => {
    const monitor = scriptedMonitor([NEGOTIATION]);
    const client = await QmpClient.connect(monitor.stream, never);
    await expect(client.waitForEvent(() => true, lateSignal(10))).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });
});

describe('framing', () => {
  it('bounds the length of a line, whole or in parts', () => {
    expect(() => new QmpFramer(8).push(Buffer.from('{"a": 123}\n'))).toThrow(QmpProtocolError);
    const framer = new QmpFramer(8);
    framer.push(Buffer.from('{"a": '));
    expect(() => framer.push(Buffer.from('123'))).toThrow(QmpProtocolError);
  });

  it('keeps a line that comes in single bytes in about as much memory as it has bytes', () => {
    const framer = new QmpFramer();
    const length = 1 << 20;
    const before = process.memoryUsage();
    for (let sent = 0; sent < length; sent += 1) framer.push(Buffer.from('['));
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    const grown = heapUsed + external + arrayBuffers - before.heapUsed - before.external - before.arrayBuffers;
    expect(grown).toBeLessThan(64 * length);
  });

  it('takes several lines at once, blank ones and carriage returns', () => {
    expect(new QmpFramer().push(Buffer.from('{"a":1}\r\n\n{"b":2}\n{"c"'))).toEqual([{ a: 1 }, { b: 2 }]);
  });

  it('takes any split of the bytes', () => {
    const text = Buffer.from('{"a":"ü"}\n{"b":[1,{"c":null}]}\n');
    for (let cut = 0; cut <= text.length; cut++) {
      const framer = new QmpFramer();
      expect([...framer.push(text.subarray(0, cut)), ...framer.push(text.subarray(cut))]).toEqual([
        { a: 'ü' },
        { b: [1, { c: null }] },
      ]);
    }
  });
});
