/** The audit log: a line for each call that changes something, and no secrets. */
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createLogger, silentLogger } from '../../../src/common/logger.js';
import { sameForAll } from '../../../src/security/access.js';
import { CERTIFICATE_KINDS } from '../../../src/security/certificateIdentity.js';
import { openAuditLog, type AuditEntry, type AuditLog } from '../../../src/server/auditLog.js';
import { createIdentify } from '../../../src/server/identify.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { eventually } from '../../support/eventually.js';
import { rawUnary } from '../../support/rawCalls.js';
import { failureOf, imageDrive, SessionClient } from '../../support/testClient.js';

let authority: Authority;
let directory: string;
let path: string;
let audit: AuditLog;
let server: SecureServer;
beforeAll(async () => {
  authority = startAuthority();
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-audit-'));
  path = join(directory, 'audit.log');
  audit = openAuditLog(path, silentLogger);
  server = await startSecureServer(authority, {
    audit,
    identify: createIdentify({ kinds: CERTIFICATE_KINDS.filter((kind) => kind !== 'sha256') }),
    access: sameForAll({ imageRoots: { directories: [directory] }, allowed: new Set(['remote-drives']) }),
  });
});
afterAll(async () => {
  await server.stop();
  authority.end();
  rmSync(directory, { recursive: true });
});

const text = (): string => readFileSync(path, 'utf8');
const entries = (): AuditEntry[] =>
  text()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditEntry);
/** The lines that a number of calls make. */
async function linesOf(count: number, calls: () => Promise<unknown>): Promise<AuditEntry[]> {
  const before = entries().length;
  await calls();
  await eventually(() => entries().length >= before + count);
  return entries().slice(before);
}
const MADE = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);

describe('the audit log', () => {
  it('has calls that change something, with identity, action and outcome', async () => {
    const alice = server.client({ subject: '/CN=alice' });
    const identity = 'cn:alice';
    const lines = await linesOf(5, async () => {
      await alice.createSession({ session_id: 'work' });
      const session = new SessionClient(alice, 'work');
      await session.call('get_memsize');
      await session.call('set_memsize', { memsize: 600 });
      await session.failure('add_drive', { filename: '/etc/passwd\n"x' });
      await session.failure('mkdir', { path: '/x' });
      await alice.getSession('work');
      await alice.deleteSession('work');
    });
    const session = 'work';
    expect(lines).toEqual([
      { time: MADE, identity, session, action: 'CreateSession', outcome: 'OK' },
      { time: MADE, identity, session, action: 'set_memsize', outcome: 'OK' },
      {
        time: MADE,
        identity,
        session,
        action: 'add_drive',
        images: ['/etc/passwd\n"x'],
        outcome: 'OUTSIDE_IMAGE_ROOTS',
      },
      { time: MADE, identity, session, action: 'mkdir', outcome: 'WRONG_STATE' },
      { time: MADE, identity, session, action: 'DeleteSession', outcome: 'OK' },
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('has the drives of a new session, and no secrets', async () => {
    const alice = server.client({ subject: '/CN=alice' });
    const remote = { protocol: 'ssh', server: ['host'], filename: '/disk', username: 'user', secret: 'hunter2' };
    const drives = [imageDrive('gone.img'), imageDrive('', { source: { $case: 'remote', value: remote } })];
    const [line] = await linesOf(1, () => failureOf(alice.createSession({ drives })));
    expect(line).toMatchObject({ images: ['gone.img', 'ssh://host//disk'], outcome: 'IMAGE_MISSING' });
    const session = new SessionClient(alice, (await alice.createSession()).id);
    await linesOf(1, () => session.failure('luks_open', { device: '/dev/sda', key: 'hunter2', mapname: 'x' }));
    expect(text()).not.toContain('hunter2');
  });

  it('has calls without an identity, without a session, and with invalid requests', async () => {
    const nobody = server.client({});
    expect(await linesOf(1, () => failureOf(nobody.createSession()))).toEqual([
      { time: MADE, action: 'CreateSession', outcome: 'UNAUTHENTICATED' },
    ]);
    const bob = server.client({ subject: '/CN=bob' });
    expect(await linesOf(1, () => new SessionClient(bob, 'none').failure('mkdir', { path: '/' }))).toEqual([
      { time: MADE, identity: 'cn:bob', session: 'none', action: 'mkdir', outcome: 'SESSION_UNKNOWN' },
    ]);
    const nonsense = (): Promise<unknown> =>
      failureOf(rawUnary(bob, '/guestfs.v1.SessionService/CreateSession', Buffer.from([0xff])));
    expect(await linesOf(1, nonsense)).toMatchObject([{ action: 'CreateSession', outcome: 'BAD_ARGUMENT' }]);
  });

  it('has no control characters, and cuts names that are longer than any path', async () => {
    const alice = server.client({ subject: '/CN=alice' });
    const lines = await linesOf(3, async () => {
      await alice.createSession({ session_id: 'long' });
      const session = new SessionClient(alice, 'long');
      await session.failure('add_drive', { filename: `${'a'.repeat(1 << 20)}\u009b31m\u007f\u2028end` });
      await failureOf(alice.createSession({ drives: [imageDrive(`${'b'.repeat(1 << 20)}end`)] }));
    });
    expect(lines[2]?.images?.[0]).toMatch(/^b{2048}\[\.\.\.\]b{2045}end$/);
    expect(text()).toContain('\\u009b31m\\u007f\\u2028end"');
    expect(text()).not.toMatch(/[\u007f-\u009f\u2028]/);
    expect(text().length).toBeLessThan(1 << 16);
    await alice.deleteSession('long');
  });

  it('continues in a new file when it is reopened', async () => {
    const alice = server.client({ subject: '/CN=alice' });
    renameSync(path, `${path}.1`);
    audit.reopen();
    const { id } = await alice.createSession();
    await alice.deleteSession(id);
    await eventually(() => entries().length === 2);
  });

  it('causes an error in the log if it cannot be opened', () => {
    expect(() => openAuditLog(join(directory, 'no/such/audit.log'), silentLogger)).toThrow('ENOENT');
    const lines: string[] = [];
    const gone = openAuditLog(
      join(directory, 'gone.log'),
      createLogger('error', (line) => lines.push(line)),
    );
    renameSync(directory, `${directory}-moved`);
    gone.reopen();
    renameSync(`${directory}-moved`, directory);
    expect(lines[0]).toContain('the audit log cannot be written');
  });
});
