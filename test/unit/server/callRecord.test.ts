/** The record of each call: one line, and nothing of what is secret. */
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { LogFields, Logger } from '../../../src/common/logger.js';
import { REQUEST_LIMIT } from '../../../src/common/messageLimits.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { eventually } from '../../support/eventually.js';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

const lines: Line[] = [];
function collecting(bound: LogFields): Logger {
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => collecting({ ...bound, ...fields }),
  };
}

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false, logger: collecting({}) });
});
afterAll(() => server.stop());
beforeEach(() => void lines.splice(0));

/** The records there are, once there is one. */
async function records(): Promise<readonly Line[]> {
  await eventually(() => lines.some(({ message }) => message.startsWith('call ')));
  return lines.filter(({ message }) => message.startsWith('call '));
}

it('of a call that changes nothing is for those who debug', async () => {
  await server.sessions.CONFIG.call('get_memsize');
  expect(await records()).toEqual([
    {
      level: 'debug',
      message: 'call succeeded',
      fields: expect.objectContaining({ action: 'get_memsize', session: 'CONFIG', ms: expect.any(Number) }),
    },
  ]);
});

it('of a call that changes something is for everybody', async () => {
  await server.sessions.CONFIG.call('set_memsize', { memsize: 512 });
  expect(await records()).toMatchObject([{ level: 'info', fields: { action: 'set_memsize', session: 'CONFIG' } }]);
});

it('of a call that fails says why', async () => {
  await server.sessions.CONFIG.failure('set_memsize', { memsize: 1 });
  expect(await records()).toMatchObject([
    { level: 'info', message: 'call failed', fields: { action: 'set_memsize', reason: 'BAD_ARGUMENT' } },
  ]);
});

it('of a call that is refused before it has a session names none', async () => {
  await expect(server.client.getSession('nobody')).rejects.toMatchObject({ info: { reason: 'SESSION_UNKNOWN' } });
  const [record] = await records();
  expect(record).toMatchObject({ level: 'info', fields: { action: 'GetSession', reason: 'SESSION_UNKNOWN' } });
  expect(record?.fields.session).toBeUndefined();
});

it('of a new session names it', async () => {
  await server.client.createSession({ session_id: 'made' });
  expect(await records()).toMatchObject([
    { level: 'info', fields: { action: 'CreateSession', session: 'made', drives: 0, launched: false } },
  ]);
});

it('of a request that is refused before it is read is there as well', async () => {
  await server.sessions.CONFIG.failure('set_append', { append: 'x'.repeat(REQUEST_LIMIT + 1) });
  expect(await records()).toMatchObject([
    { level: 'info', fields: { action: 'set_append', reason: 'MESSAGE_TOO_LARGE' } },
  ]);
});

it('has nothing of the request', async () => {
  const secret = 'a-key-that-nobody-sees';
  await server.sessions.CONFIG.failure('luks_open', { device: '/dev/sda', key: secret, mapname: 'x' });
  await server.sessions.CONFIG.failure('add_drive', { filename: '/x', protocol: 'nbd', secret });
  await records();
  expect(JSON.stringify(lines)).not.toContain(secret);
});
