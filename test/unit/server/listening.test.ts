/** A server on a Unix socket. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { startListening } from '../../../src/server/listening.js';
import { rawUnary } from '../../support/rawCalls.js';
import { TestClient } from '../../support/testClient.js';

let directory: string;
let path: string;
const servers: Server[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-socket-'));
  path = join(directory, 'server.sock');
});
afterEach(() => {
  for (const server of servers.splice(0)) server.forceShutdown();
  rmSync(directory, { recursive: true });
});

function start(socketMode = 0o600): Promise<string> {
  const server = new Server();
  servers.push(server);
  new HealthImplementation({ '': 'SERVING' }).addToServer(server);
  return startListening(server, {
    listen: `unix:${path}`,
    socketMode,
    credentials: ServerCredentials.createInsecure(),
  });
}
/** Which bits new files of this process lack. */
const umask = (): string | undefined => /^Umask:\s*(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];

async function ask(): Promise<Buffer> {
  const client = new TestClient(`unix:${path}`, credentials.createInsecure());
  try {
    return await rawUnary(client, '/grpc.health.v1.Health/Check', Buffer.alloc(0));
  } finally {
    client.close();
  }
}

describe('a Unix socket', () => {
  it.each([0o600, 0o660, 0o666])('is served with mode %i', async (mode) => {
    const before = umask();
    expect(await start(mode)).toBe(`unix:${path}`);
    expect(statSync(path).mode & 0o777).toBe(mode);
    expect(umask()).toBe(before);
    expect([...(await ask())]).toEqual([8, 1]);
  });

  it('takes the place of one that nobody answers', async () => {
    const left = spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect([left.signal, existsSync(path)]).toEqual(['SIGKILL', true]);
    await start();
    await ask();
  });

  it('takes no place that another server or a file has', async () => {
    const other = createServer().listen(path);
    await new Promise((resolve) => other.once('listening', resolve));
    await expect(start()).rejects.toThrow(`cannot listen on unix:${path}: another server is listening on it`);
    await new Promise((resolve) => other.close(resolve));
    writeFileSync(path, '');
    await expect(start()).rejects.toThrow('not a socket');
    expect(existsSync(path)).toBe(true);
  });
});
