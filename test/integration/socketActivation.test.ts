/** `--listen systemd`: the server takes over a socket, here one that a small program makes as systemd would. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { scratchDrive, SessionClient, TestClient } from '../support/testClient.js';
import { CLEAN_END, MAIN, startTestServer, type ServerEnd, type TestServer } from '../support/testServer.js';

/** Makes sockets, and becomes the server, which gets them as 3, 4, ... */
const SYSTEMD = `#!/usr/bin/python3
import os, socket, sys
sockets = []
for place in os.environ.pop("TEST_SOCKETS").split():
    kind, where = place.split(":", 1)
    s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET,
                      socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.bind(where if kind == "unix" else ("127.0.0.1", int(where)))
    if kind == "unix":
        os.chmod(where, 0o660)
    if kind in ("unix", "tcp"):
        s.listen()
    sockets.append(s)
copies = [os.dup2(os.dup(s.fileno()), 200 + n) for n, s in enumerate(sockets)]
for n, copy in enumerate(copies):
    os.dup2(copy, 3 + n)
    os.close(copy)
os.environ["LISTEN_FDS"] = str(len(sockets))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(${JSON.stringify(process.execPath)}, ["node", ${JSON.stringify(MAIN)}, *sys.argv[1:]])
`;

describeWithAppliance('a server that systemd passes a socket', () => {
  const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-activation-'));
  const command = join(directory, 'systemd');
  const path = join(directory, 'server.sock');
  writeFileSync(command, SYSTEMD);
  chmodSync(command, 0o755);
  let server: TestServer | undefined;
  let client: TestClient | undefined;

  const start = async (sockets: string, flags: readonly string[] = []): Promise<TestServer> => {
    server = await startTestServer({
      command,
      env: { TEST_SOCKETS: sockets },
      flags: ['--listen', 'systemd', ...flags],
    });
    client = new TestClient(server.address);
    return server;
  };
  /** What it says when it does not start. */
  const refusal = (sockets: string, ...flags: readonly string[]): string => {
    const env = { ...process.env, TEST_SOCKETS: sockets };
    const { status, stderr } = spawnSync(command, ['serve', '--listen', 'systemd', ...flags], {
      env,
      cwd: directory,
      encoding: 'utf8',
    });
    expect(status).toBe(2);
    return stderr;
  };

  /** Ends it; undefined if none runs. */
  const stop = async (): Promise<ServerEnd | undefined> => {
    client?.close();
    const running = server;
    server = client = undefined;
    return running?.stop();
  };

  afterEach(async () => {
    await stop();
    rmSync(path, { force: true });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('serves an Internet socket, and no program that it starts inherits it', async () => {
    const started = await start('tcp:0');
    expect(started.address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    const { id } = await (client as TestClient).createSession({ drives: [scratchDrive(1 << 20)], launch: true });
    const session = new SessionClient(client as TestClient, id);
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    const socket = readlinkSync(`/proc/${started.process.pid}/fd/3`);
    expect(socket).toMatch(/^socket:/);
    const open = started
      .machines()
      .flatMap(({ pid }) => readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)));
    expect(open.length).toBeGreaterThan(0);
    expect(open).not.toContain(socket);
    expect(await stop()).toEqual(CLEAN_END);
  });

  it('serves a Unix socket, with the users of its clients and the mode that it has', async () => {
    const started = await start(`unix:${path}`);
    expect(started.address).toBe(`unix:${path}`);
    const { id } = await (client as TestClient).createSession({});
    expect((await (client as TestClient).getSession(id)).id).toBe(id);
    await (client as TestClient).deleteSession(id);
    expect(await stop()).toEqual(CLEAN_END);
  });

  it('does not start with no socket, two of them, one of another kind, or a mode of its own', () => {
    expect(refusal('')).toContain('has to pass one socket, not 0');
    expect(refusal('tcp:0 tcp:0')).toContain('has to pass one socket, not 2');
    expect(refusal('udp:0')).toContain('the socket cannot be served: it does not listen');
    expect(refusal(`unix:${path}`, '--socket-mode', '666')).toContain('the mode is that of the .socket unit');
    const { status, stderr } = spawnSync(process.execPath, [MAIN, '--listen', 'systemd'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, expect.stringContaining('systemd has passed no socket to this process')]);
  });
});
