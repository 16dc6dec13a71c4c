/** What a compromised qemu has access to; and that nothing outlives the server. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { intrude, type Attempt } from '../support/intruder.js';
import { processesThatMention } from '../support/processes.js';
import { launchSession } from '../support/scene.js';
import { imageDrive, scratchDrive, SessionClient, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer, type TestServer } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
const SOMEBODY = 65534;
/** A descriptor that is unknown to the server, and that Node.js does not mark as close-on-exec. */
const LEAKED = 40;

const isRoot = process.geteuid?.() === 0;
const appliance = builtAppliance('trixie');
const missing = !isRoot
  ? 'only root can look into processes of others'
  : appliance === undefined
    ? 'there is no appliance: npm run appliance'
    : undefined;

const field = (pid: number, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
const namespace = (pid: number | 'self', name: string): string => readlinkSync(`/proc/${pid}/ns/${name}`);
const limit = (pid: number, name: string): string =>
  new RegExp(`^${name} +(\\S+)`, 'm').exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))?.[1] ?? '';
const descriptors = (pid: number): { fd: number; target: string }[] =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => ({ fd: Number(fd), target: readlinkSync(`/proc/${pid}/fd/${fd}`) }));
/** Name of the cgroup that was made for a process. */
const cgroupOf = (pid: number): string =>
  /\/(guestfs-grpc-[\d-]+)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? '';
const tree = (path: string): string[] => readdirSync(path).sort();

for (const uid of [0, SOMEBODY]) {
  const name = uid === 0 ? 'a server that is root' : 'a server that is not root';
  describeWhen(`the qemu of ${name}`, missing, () => {
    let server: TestServer;
    let client: TestClient;
    let scene: string;
    let sessions: [SessionClient, SessionClient];
    let qemus: [number, number];

    beforeAll(async () => {
      scene = mkdtempSync(join(tmpdir(), 'jail-'));
      chmodSync(scene, 0o755);
      const own = join(scene, 'appliance');
      // The usual place may be one that others may not enter.
      if (uid !== 0) cpSync(appliance ?? '', own, { recursive: true });
      const cache = join(scene, 'cache');
      mkdirSync(cache);
      if (uid !== 0) execFileSync('chown', ['-R', String(uid), scene]);
      server = await startTestServer({
        flags: ['--appliance', uid === 0 ? (appliance ?? '') : own],
        env: { LIBGUESTFS_CACHEDIR: cache, HOME: scene, SECRET_OF_THE_SERVER: 'sesame' },
        uid,
        before: `exec ${LEAKED}</etc/passwd`,
      });
      client = new TestClient(server.address);
      emptyImage(join(server.images, 'one.img'), 8);
      emptyImage(join(server.images, 'two.img'), 8);
      if (uid !== 0) execFileSync('chown', ['-R', String(uid), server.images]);
      const known = new Set<number>();
      const launch = async (image: string): Promise<[SessionClient, number]> => {
        const session = await launchSession(client, [imageDrive(image)]);
        const [found] = server.machines().filter((one) => one.name.startsWith('qemu') && !known.has(one.pid));
        known.add(found?.pid ?? 0);
        return [session, found?.pid ?? 0];
      };
      const [one, two] = [await launch('one.img'), await launch('two.img')];
      sessions = [one[0], two[0]];
      qemus = [one[1], two[1]];
    });
    afterAll(async () => {
      client.close();
      expect(await server.stop()).toEqual(CLEAN_END);
      rmSync(scene, { recursive: true });
    });

    it('is in a jail, as logged by the server', () => {
      expect(logged(server, 'qemu and its helpers run in jails')).toEqual([
        expect.objectContaining({ isolation: 'namespaces', as: uid === 0 ? 'root' : 'user' }),
      ]);
      expect(field(server.process.pid ?? 0, 'Uid').split('\t')[0]).toBe(String(uid));
    });

    it('has its own namespaces, no privileges and a filter', () => {
      const [one, two] = qemus;
      for (const space of ['mnt', 'pid', 'net', 'ipc', 'uts', ...(uid === 0 ? [] : ['user'])]) {
        expect(namespace(one, space)).not.toBe(namespace('self', space));
        expect(namespace(one, space)).not.toBe(namespace(two, space));
      }
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(field(one, set)).toMatch(/^0+$/);
      if (uid === 0) expect(field(one, 'CapBnd')).toMatch(/^0+$/);
      expect([field(one, 'NoNewPrivs'), field(one, 'Seccomp')]).toEqual(['1', '2']);
      expect(field(one, 'Uid') === field(two, 'Uid')).toBe(uid !== 0);
    });

    it('is limited', () => {
      expect(limit(qemus[0], 'Max core file size')).toBe('0');
      expect(limit(qemus[0], 'Max open files')).toBe('8192');
      expect(Number(limit(qemus[0], 'Max data size'))).toBeLessThan(16 * 1024 * MEBIBYTE);
      if (uid === 0) expect(limit(qemus[0], 'Max processes')).toBe('2048');
      const [said] = logged(server, 'each machine has its own cgroup');
      const cgroups = qemus.map((pid) => cgroupOf(pid));
      // Where the server may not make any, it logs that.
      if (said === undefined) {
        const why = 'machines have no cgroups: only the limits of each process apply';
        expect(logged(server, why)).toHaveLength(1);
        return;
      }
      expect(new Set(cgroups).size).toBe(2);
      for (const [index, path] of cgroups.entries()) {
        const pids = (said['below'] as string[]).map((parent) => join(parent, path, 'cgroup.procs'));
        // With what made its jail.
        for (const file of pids) expect(readFileSync(file, 'latin1').split('\n')).toContain(String(qemus[index]));
      }
    });

    it("has its own files and descriptors, and none of the server's parent", () => {
      const root = `/proc/${qemus[0]}/root`;
      const [top = ''] = server.temporary.split('/').filter((part) => part !== '');
      expect(tree(root)).toEqual(['dev', 'etc', 'lib', 'lib64', 'proc', top, 'usr'].sort());
      expect(tree(join(root, 'etc'))).toEqual(['ld.so.cache']);
      expect(tree(join(root, server.temporary))).toHaveLength(1);
      const found = descriptors(qemus[0]);
      expect(found.filter(({ target }) => target.includes('passwd'))).toEqual([]);
      const files = found.filter(({ target }) => target.startsWith('/') && !/^\/(dev|memfd:|proc$)/.test(target));
      const allowed = [appliance ?? '', scene, server.images, server.temporary];
      expect(files.filter(({ target }) => !allowed.some((path) => target.startsWith(`${path}/`)))).toEqual([]);
      expect(files.filter(({ target }) => target.includes('two.img'))).toEqual([]);
      // No directory: with one, everything above it would be accessible.
      const directories = found.filter(({ target }) => /^\/tmp.*\/private$/.test(target));
      expect(directories).toEqual([]);
      expect(logged(server, 'closed descriptors of the process that started the server')).toEqual([
        expect.objectContaining({ inherited: expect.arrayContaining([LEAKED]) }),
      ]);
      expect(readFileSync(`/proc/${qemus[0]}/environ`, 'latin1')).not.toContain('sesame');
    });

    it('has no access to other sessions', () => {
      const others = readdirSync(server.temporary).map((one) => join(server.temporary, one));
      const port = Number(server.address.split(':').at(-1));
      const attempts: Attempt[] = [
        ...['/etc/passwd', '/etc/shadow', '/root', '/run', '/var', '/home'].map((path): Attempt => ['list', path]),
        ['read', '/etc/passwd'],
        ['read', join(server.images, 'two.img')],
        ['list', server.images],
        ['read', `/proc/${server.process.pid}/environ`],
        ['read', `/proc/${qemus[1]}/mem`],
        ['kill', server.process.pid ?? 0],
        ['kill', qemus[1]],
        ['processes', 9],
        ['tcp', port],
        ['network', '192.0.2.1'],
        ['unix', `/proc/self/cwd/../${qemus[1]}`],
        ['write', '/proc/sys/kernel/core_pattern'],
        ['write', '/usr/lib/x'],
        ['write memory', 0],
      ];
      // The attempts are such that they succeed where there is no jail.
      const possible: Attempt[] = [
        ['list', '/root'],
        ['read', join(server.images, 'two.img')],
        ['processes', 9],
        ['tcp', port],
        ['kill', qemus[1]],
      ];
      if (uid === 0) expect(intrude(server.process.pid ?? 0, possible)).toEqual(possible.map(() => 'done'));
      const outcomes = intrude(qemus[0], attempts);
      expect(attempts.filter((_attempt, index) => outcomes[index] === 'done')).toEqual([]);
      expect(outcomes).toHaveLength(attempts.length);
      // Of all run directories it sees its own.
      const seen = intrude(
        qemus[0],
        others.map((path): Attempt => ['list', join(path, 'private')]),
      );
      expect(seen.filter((outcome) => outcome === 'done')).toHaveLength(1);
    });

    it('gets the files of later drives, whatever is in its directory', async () => {
      for (const one of readdirSync(server.temporary))
        symlinkSync('/nowhere', join(server.temporary, one, 'private', 'fds'));
      await sessions[0].call('add_drive_scratch', { size: BigInt(MEBIBYTE) });
      expect(await sessions[0].call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
    });
  });
}

describeWhen('what a server has started', missing, () => {
  it('ends with it, when it is killed while a disk is created', async () => {
    const scene = mkdtempSync(join(tmpdir(), 'jail-orphans-'));
    // Takes long enough: it is the one on the PATH that is run.
    const tool = join(scene, 'qemu-system-x86_64');
    const loop = `case "$*" in *'-machine none'*) while :; do :; done;; esac # ${scene}`;
    writeFileSync(tool, `#!/bin/sh\n${loop}\nexec /usr/bin/qemu-system-x86_64 "$@"\n`);
    chmodSync(tool, 0o755);
    const server = await startTestServer({ env: { PATH: `${scene}:${process.env['PATH'] ?? ''}` } });
    const client = new TestClient(server.address);
    const session = await client.createSession({ drives: [scratchDrive(MEBIBYTE)], launch: false });
    const disk = { filename: join(server.images, 'new.img'), format: 'qcow2', size: BigInt(MEBIBYTE) };
    const creating = new SessionClient(client, session.id).call('disk_create', disk).catch(() => undefined);
    const running = (): number => processesThatMention(tool).length;
    const helperOf = () =>
      processesThatMention(tool).find(
        ({ pid, name }) =>
          name.startsWith('qemu-system') && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('\0none\0'),
      );
    await eventually(() => helperOf() !== undefined);
    // It has nothing of the power of root, only the one file that it is given, open.
    const pid = helperOf()?.pid ?? 0;
    expect([field(pid, 'CapEff'), field(pid, 'CapPrm'), field(pid, 'NoNewPrivs')]).toEqual([
      ...['0000000000000000', '0000000000000000', '1'],
    ]);
    for (const space of ['mnt', 'pid', 'net', 'ipc', 'uts'])
      expect(namespace(pid, space)).not.toBe(namespace('self', space));
    expect(limit(pid, 'Max open files')).toBe('256');
    const own = descriptors(pid).filter(({ fd, target }) => fd > 2 && fd < 10 && !target.startsWith('socket:'));
    expect(own.map(({ target }) => target)).toEqual([join(server.images, 'new.img')]);
    const variables = readFileSync(`/proc/${pid}/environ`, 'latin1')
      .split('\0')
      .map((one) => one.split('=')[0]);
    expect(variables.filter((name) => !['PATH', 'LC_ALL', 'PWD', ''].includes(name ?? ''))).toEqual([]);
    await server.stop('SIGKILL');
    await eventually(() => running() === 0, 5000);
    client.close();
    await creating;
    rmSync(scene, { recursive: true });
  });
});
