/** Failures with templates: sessions start nevertheless, the log has the reason, and nothing is left. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { LaunchKind, type DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { createMemoryFile, keepMemoryFile } from '../../src/common/memoryFile.js';
import { describeWithAppliance } from '../support/appliance.js';
import { run } from '../support/diskImages.js';
import { hostWith } from '../support/lesserHosts.js';
import { eventually } from '../support/eventually.js';
import { inGuest, launchAs } from '../support/launchKinds.js';
import { ended, processesThatMention } from '../support/processes.js';
import { replaceArgument, wrapQemu } from '../support/qemuWrapper.js';
import { launchSession } from '../support/scene.js';
import { failureOf, scratchDrive, TestClient } from '../support/testClient.js';
import {
  logged,
  CLEAN_END,
  MAIN,
  plainEnvironment,
  startTestServer,
  type TestServer,
  type TestServerOptions,
} from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
const isRoot = process.geteuid?.() === 0;
const DRIVES: DriveSpec[] = [scratchDrive(MEBIBYTE)];

let scene: string;
beforeAll(() => {
  scene = mkdtempSync(join(tmpdir(), 'templates-'));
  chmodSync(scene, 0o755);
});
afterAll(() => rmSync(scene, { recursive: true }));

/** Where a cache directory has its templates. */
const templatesIn = (cache: string): string => join(cache, `guestfs-grpc-${process.geteuid?.() ?? 0}`, 'templates');
/** The directory of the only template. */
const onlyTemplate = (cache: string): string => {
  const names = readdirSync(templatesIn(cache));
  expect(names).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
  return join(templatesIn(cache), names[0] as string);
};
const isKept = (cache: string): boolean =>
  existsSync(templatesIn(cache)) && readdirSync(templatesIn(cache)).some((name) => !name.startsWith('.'));

interface Running extends TestServer {
  readonly client: TestClient;
}

const running: Running[] = [];
afterEach(async () => {
  const ends = await Promise.all(
    running.splice(0).map((server) => {
      server.client.close();
      return server.stop();
    }),
  );
  for (const end of ends) expect(end).toEqual(CLEAN_END);
});

/** A server with this cache directory, once it is ready; it must shut down cleanly, and leave nothing. */
async function serve(cache: string, options: TestServerOptions = {}): Promise<Running> {
  const server = await startTestServer({
    flags: ['--accel', 'tcg', '--debug-service', ...(options.flags ?? [])],
    env: { LIBGUESTFS_CACHEDIR: cache, ...options.env },
  });
  const one = { ...server, client: new TestClient(server.address) };
  running.push(one);
  return one;
}

/** Memory files that the server has open: three for each template. */
const memoryFiles = (server: TestServer): number =>
  readdirSync(`/proc/${server.process.pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${server.process.pid}/fd/${fd}`).startsWith('/memfd:guestfs-grpc');
    } catch {
      return false; // closed meanwhile
    }
  }).length;

/** Launches a session, which must work, and returns how it was launched. */
async function launched(server: Running): Promise<LaunchKind> {
  const session = await launchSession(server.client, DRIVES);
  expect(await session.call('list_devices')).toEqual(['/dev/sda']);
  const { launch_kind } = await server.client.getSession(session.id);
  await server.client.deleteSession(session.id);
  return launch_kind;
}

/** A server is asked to end, or killed, before it is ready. */
async function endWhileMaking(
  cache: string,
  signal: NodeJS.Signals,
): Promise<{ code: number | null; temporary: string; log: string }> {
  const temporary = mkdtempSync(join(scene, 'run-'));
  const child = spawn(
    process.execPath,
    [MAIN, 'serve', '--listen', '127.0.0.1:0', '--image-root', scene, '--accel', 'tcg'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...plainEnvironment(), LIBGUESTFS_TMPDIR: temporary, LIBGUESTFS_CACHEDIR: cache },
    },
  );
  let log = '';
  child.stderr.on('data', (bytes: Buffer) => {
    log += bytes.toString();
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const machines = (): number[] =>
    processesThatMention(temporary)
      .filter(({ name }) => name.startsWith('qemu'))
      .map(({ pid }) => pid);
  await eventually(() => machines().length > 0);
  const [machine] = machines();
  child.kill(signal);
  const [code] = await exited;
  await ended(machine as number);
  expect(processesThatMention(temporary)).toEqual([]);
  return { code, temporary, log };
}

describeWithAppliance('a template', () => {
  /** Holds one that is as it should be. */
  let good: string;
  beforeAll(async () => {
    good = join(scene, 'good');
    await serve(good);
    await eventually(() => isKept(good));
  });
  /** A cache directory with a template that is not. */
  const spoiled = (name: string, spoil: (template: string) => void): string => {
    const cache = join(scene, name);
    mkdirSync(cache);
    run('cp', '-a', '--sparse=always', templatesIn(good).split('/').slice(0, -1).join('/'), cache);
    spoil(onlyTemplate(cache));
    return cache;
  };

  it('that was kept is used by the next server, which makes none', async () => {
    const server = await serve(good);
    expect(await launched(server)).toBe(LaunchKind.TEMPLATE);
    expect(logged(server, 'made a template')).toEqual([]);
    expect(memoryFiles(server)).toBe(3);
  });

  it('can be made where Landlock and seccomp confine qemu, which can make no sockets there', async () => {
    const place = join(scene, 'confined');
    mkdirSync(place);
    const server = await serve(join(scene, 'made-confined'), hostWith('landlock', place));
    expect(server.log()).toContain('"isolation":"landlock"');
    expect(logged(server, 'made a template')).toHaveLength(1);
    expect(await launched(server)).toBe(LaunchKind.TEMPLATE);
  });

  it('whose memory has another bit is made anew', async () => {
    const cache = spoiled('flipped', (template) => {
      const file = openSync(join(template, 'memory'), 'r+');
      const byte = Buffer.alloc(1);
      readSync(file, byte, 0, 1, 16 * MEBIBYTE);
      writeSync(file, Buffer.from([(byte[0] as number) ^ 4]), 0, 1, 16 * MEBIBYTE);
      closeSync(file);
    });
    const server = await serve(cache);
    expect(logged(server, 'a stored template is unusable and will be recreated')).toEqual([
      expect.objectContaining({ level: 'warn', reason: expect.stringMatching(/memory does not match its digest$/) }),
    ]);
    expect(logged(server, 'made a template')).toHaveLength(1);
    expect(await launched(server)).toBe(LaunchKind.TEMPLATE);
    await eventually(() => isKept(cache));
    expect(memoryFiles(server)).toBe(3);
  });

  it('that qemu refuses is made anew, while sessions boot', async () => {
    const cache = spoiled('refused', () => undefined);
    const template = onlyTemplate(cache);
    const never = new AbortController().signal;
    const garbage = await createMemoryFile(0, never);
    await garbage.write(Buffer.from('this is no state'));
    const target = await open(join(template, 'state'), 'w');
    const state = await keepMemoryFile(garbage, target, never);
    await Promise.all([garbage.close(), target.close()]);
    const facts = JSON.parse(readFileSync(join(template, 'template.json'), 'utf8')) as { digests: object };
    writeFileSync(join(template, 'template.json'), JSON.stringify({ ...facts, digests: { ...facts.digests, state } }));

    const server = await serve(cache);
    // One clone alone may have had bad luck.
    for (const left of [true, false]) {
      expect(await launched(server)).toBe(LaunchKind.COLD);
      expect(existsSync(template)).toBe(left);
    }
    const refused = expect.objectContaining({
      level: 'warn',
      reason: expect.stringContaining('Not a migration stream'),
    });
    expect(logged(server, 'restoring a clone failed: falling back to a cold boot')).toEqual([refused, refused]);
    const session = await launchAs('template', { client: server.client, server }, DRIVES);
    await server.client.deleteSession(session.id);
    expect(memoryFiles(server)).toBe(3);
    expect(server.machines()).toEqual([]);
    expect(readdirSync(server.temporary)).toEqual([]);
  });

  it('is made by two servers at once, and kept by one', async () => {
    const cache = join(scene, 'shared');
    mkdirSync(cache);
    const servers = await Promise.all([serve(cache), serve(cache)]);
    for (const server of servers) {
      await launchAs('template', { client: server.client, server }, DRIVES);
      expect(memoryFiles(server)).toBe(3);
    }
    await eventually(() => readdirSync(templatesIn(cache)).every((name) => !name.startsWith('.')));
    onlyTemplate(cache);
    for (const server of servers)
      expect(logged(server, 'cannot store a template: it will be recreated after a restart')).toEqual([]);
  });

  // Somebody who is not root cannot mount what is too small.
  (isRoot ? it : it.skip)('is used, but not kept, where the disk is full', async () => {
    const cache = join(scene, 'full');
    mkdirSync(cache);
    run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', cache);
    try {
      const server = await serve(cache);
      expect(await launched(server)).toBe(LaunchKind.TEMPLATE);
      await eventually(
        () => logged(server, 'cannot store a template: it will be recreated after a restart').length > 0,
      );
      expect(server.log()).toContain('No space left on device');
      expect(readdirSync(templatesIn(cache))).toEqual([]);
    } finally {
      run('umount', '-l', cache);
    }
  });

  it('is not made with more memory than there is', async () => {
    const server = await serve(good, { flags: ['--max-memsize', String(1 << 20)] });
    const failure = await failureOf(launchSession(server.client, DRIVES, { memsize: 1 << 20 }));
    expect(failure.info?.reason).toBe('OUT_OF_MEMORY');
    await eventually(() => logged(server, 'no template for now: falling back to cold boot').length > 0);
    expect(server.log()).toContain('this server has less memory than 1048576 MiB');
    expect(await launched(server)).toBe(LaunchKind.TEMPLATE);
    expect(memoryFiles(server)).toBe(3);
  });

  it('of one qemu is not for another, and a qemu that cannot clone boots', async () => {
    const cache = spoiled('other-qemu', () => undefined);
    const qemu = await wrapQemu(
      join(scene, 'qemu-without-clones'),
      '[ $restored = no ] || { echo "cannot restore" >&2; exit 1; }',
    );
    const server = await serve(cache, { env: { LIBGUESTFS_HV: qemu } });
    expect(logged(server, 'made a template')).toHaveLength(1);
    expect(await launched(server)).toBe(LaunchKind.COLD);
    expect(logged(server, 'restoring a clone failed: falling back to a cold boot')).toEqual([
      expect.objectContaining({ level: 'warn', reason: expect.stringContaining('cannot restore') }),
    ]);
  });

  it('is not created from a kernel that cannot detect that it was cloned', async () => {
    const cache = join(scene, 'no-driver');
    const server = await serve(cache, {
      env: { LIBGUESTFS_APPEND: 'initcall_blacklist=vmgenid_plaform_driver_init,vmgenid_driver_init' },
    });
    expect(logged(server, 'no template for now: falling back to cold boot')).toEqual([
      expect.objectContaining({ level: 'warn', reason: expect.stringContaining('no driver for the generation ID') }),
    ]);
    expect(logged(server, 'ready to launch')).toEqual([expect.objectContaining({ launch: 'cold' })]);
    expect(await launched(server)).toBe(LaunchKind.COLD);
    expect(memoryFiles(server)).toBe(0);
    expect(existsSync(templatesIn(cache)) ? readdirSync(templatesIn(cache)) : []).toEqual([]);
  });

  it('that is a month old gives sessions the time of the host', async () => {
    const cache = join(scene, 'old');
    // The clock is a month behind when the appliance boots, and so in the saved state.
    const qemu = await wrapQemu(
      join(scene, 'qemu-a-month-ago'),
      `[ $restored = yes ] || {\n${replaceArgument('rtc', 'base=$(date -u -d "-30 days" +%Y-%m-%dT%H:%M:%S)')}\n}`,
    );
    const server = await serve(cache, { env: { LIBGUESTFS_HV: qemu } });
    const session = await launchAs('template', { client: server.client, server }, DRIVES);
    const before = Date.now() / 1000;
    const [now, saved] = (await inGuest(session, 'date +%s.%N; stat -c %Y /tmp/lvm/lvm.conf'))
      .trim()
      .split('\n')
      .map(Number) as [number, number];
    const after = Date.now() / 1000;
    expect((before - saved) / 86400).toBeGreaterThan(29.9);
    expect(now).toBeGreaterThan(before - 1);
    expect(now).toBeLessThan(after + 1);
  });

  describe('that is being made', () => {
    it('is cancelled cleanly on SIGTERM', async () => {
      const cache = join(scene, 'ended');
      const { code, temporary, log } = await endWhileMaking(cache, 'SIGTERM');
      expect({ code, log }).toEqual({ code: 0, log: expect.not.stringMatching(/"level":"(warn|error)"/) });
      expect(readdirSync(temporary)).toEqual([]);
      expect(existsSync(templatesIn(cache)) ? readdirSync(templatesIn(cache)) : []).toEqual([]);
    });

    it('ends with a server that is killed, and the next one removes what is left', async () => {
      const cache = join(scene, 'killed');
      const { temporary } = await endWhileMaking(cache, 'SIGKILL');
      expect(readdirSync(temporary)).toHaveLength(1);
      const next = await startTestServer({
        flags: ['--launch', 'cold', '--accel', 'tcg'],
        temporary,
        env: { LIBGUESTFS_CACHEDIR: cache },
      });
      expect(await next.stop()).toEqual(CLEAN_END);
    });
  });
});
