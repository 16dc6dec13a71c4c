/** Real jails on this machine. */
import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { runJailed, startJailed } from '../../../src/jail/jail.js';
import { findIsolation, overrideIsolation } from '../../../src/jail/isolation.js';
import type { JailPlan } from '../../../src/jail/jailArguments.js';
import { findProgram } from '../../../src/jail/programFiles.js';
import { itWhen } from '../../support/itWhen.js';
import { eventually } from '../../support/eventually.js';
import { ended, processesThatMention } from '../../support/processes.js';

jest.setTimeout(30_000);
const isRoot = process.geteuid?.() === 0;
const limits = { timeoutMs: 20_000, maxOutputBytes: 1 << 16, signal: new AbortController().signal };
let scene: string;
beforeEach(() => {
  scene = mkdtempSync(join(tmpdir(), 'jail-'));
});
afterEach(() => {
  overrideIsolation(undefined);
  rmSync(scene, { recursive: true });
});

/** A shell with the tools of a script, running as a user. */
async function shell(script: string, changes: Partial<JailPlan> = {}): Promise<JailPlan> {
  const [sh, cat, ls] = await Promise.all(['sh', 'cat', 'ls'].map((name) => findProgram(name, 'tool')));
  return {
    program: sh as JailPlan['program'],
    args: ['-c', script],
    user: isRoot ? { uid: 1_900_000_000, gid: 1_900_000_000 } : undefined,
    places: [...(cat?.places ?? []), ...(ls?.places ?? [])],
    ...changes,
  };
}
const say = async (script: string, changes: Partial<JailPlan> = {}): Promise<string> => {
  const { exitCode, stdout, stderr } = await runJailed(await shell(script, changes), limits);
  if (exitCode !== 0) throw new Error(`${exitCode}: ${stderr}`);
  return stdout.trim();
};
const start = async (script: string, fds: readonly number[] = []) =>
  startJailed(await shell(script), { channels: 1, fds, env: {} });

describe('a program in a jail', () => {
  it('can be started on this machine', async () => {
    expect(await findIsolation()).toMatchObject({ kind: 'namespaces', as: isRoot ? 'root' : 'user' });
  });

  it('sees nothing of the machine', async () => {
    expect((await say('ls /')).split('\n').sort()).toEqual(
      expect.arrayContaining(['dev', 'etc', 'lib', 'proc', 'usr']),
    );
    expect(await say('ls /')).not.toMatch(/^(home|root|run|srv|tmp|var)$/m);
    expect(await say('ls /etc')).toBe('ld.so.cache');
    expect(await say('echo /proc/[0-9]*')).toBe('/proc/1 /proc/2');
    expect(await say('cat /proc/net/dev')).not.toMatch(/eth|ens|wl/);
    expect((await say('ls /dev')).split('\n')).toEqual([
      ...['fd', 'null', 'random', 'stderr', 'stdin', 'stdout', 'urandom', 'zero'],
    ]);
  });

  it('has no privileges, and cannot gain any', async () => {
    const status = await say('cat /proc/self/status');
    for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(status).toMatch(new RegExp(`${name}:\\s0+\n`));
    expect(status).toMatch(/NoNewPrivs:\s1\n/);
    for (const file of ['/x', '/usr/x', '/dev/x', '/etc/ld.so.cache', '/proc/sys/kernel/panic'])
      await expect(say(`echo 1 > ${file}`)).rejects.toThrow(/Read-only|Permission denied|No such file/);
  });

  it('that stays root cannot change kernel settings', async () => {
    if (!isRoot) return;
    const changes = { user: undefined, capabilities: ['CAP_DAC_OVERRIDE'] };
    await expect(say('echo 1 > /proc/sys/kernel/panic', changes)).rejects.toThrow('Read-only');
    expect(await say('cat /proc/self/status', changes)).toMatch(/CapEff:\s0{15}2\n/);
  });

  it('writes in its directory, and is limited', async () => {
    const directory = mkdtempSync(join(scene, 'own-'));
    if (isRoot) execFileSync('chown', ['1900000000', directory]);
    expect(await say('echo written > file; pwd', { directory })).toBe(directory);
    expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('written\n');
    const said = await say('cat /proc/self/limits', { limits: { openFiles: 77, data: 1 << 28, fileSize: 99 } });
    expect(said).toMatch(/Max open files +77 +77 /);
    expect(said).toMatch(/Max data size +268435456 +268435456 /);
    expect(said).toMatch(/Max file size +99 +99 /);
    expect(said).toMatch(/Max core file size +0 +0 /);
  });

  it('is known by its number on the host, and has only its own descriptors', async () => {
    const started = await start('read line <&3; exit 7');
    await eventually(() => !/bwrap|setpriv/.test(readFileSync(`/proc/${started.pid}/comm`, 'utf8')));
    for (const name of ['pid', 'mnt', 'net', 'ipc', 'uts', ...(isRoot ? [] : ['user'])])
      expect(readlinkSync(`/proc/${started.pid}/ns/${name}`)).not.toBe(readlinkSync(`/proc/self/ns/${name}`));
    const fds = execFileSync('ls', [`/proc/${started.pid}/fd`], { encoding: 'utf8' })
      .trim()
      .split('\n');
    // Descriptors that the shell itself opens start at 10.
    expect(fds.filter((fd) => Number(fd) < 10)).toEqual(['0', '1', '2', '3']);
    started.channels[0]?.write('go\n');
    expect(await started.exited).toEqual({ exitCode: 7, signal: undefined });
  });

  it('ends on a signal, with everything it has started', async () => {
    const started = await start('sleep 1000 & read line <&3; exit 7');
    started.kill('SIGKILL');
    expect(await started.exited).toEqual({ exitCode: undefined, signal: 'SIGKILL' });
    await ended(started.pid);
    const asked = await start('trap "exit 9" TERM; echo ready >&3; while :; do read line <&3; done');
    await once(asked.channels[0]?.resume() as NodeJS.ReadableStream, 'data');
    asked.kill('SIGTERM');
    asked.channels[0]?.write('x\n');
    expect(await asked.exited).toEqual({ exitCode: 9, signal: undefined });
  });

  it('has all its output read, however short it runs', async () => {
    for (const wait of ['', 'n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done; ']) {
      const started = await start(`echo one; echo two >&2; echo three >&3; ${wait}exit 4`);
      const [channel] = started.channels as [Duplex];
      const said = await Promise.all([...started.outputs, channel].map((stream) => text(stream)));
      expect(said).toEqual(['one\n', 'two\n', 'three\n']);
      expect(await started.exited).toEqual({ exitCode: 4, signal: undefined });
    }
  });

  it('cannot be started in a missing directory', async () => {
    const plan = await shell('true', { directory: join(scene, 'none') });
    const outcome = startJailed(plan, { channels: 0, fds: [], env: {} }).then(({ exited }) => exited);
    await expect(outcome).resolves.toMatchObject({ exitCode: 1 });
  });

  it('does not outlive a server that is killed', async () => {
    const mark = `mark-${process.pid}-${Date.now()}`;
    const module = fileURLToPath(new URL('../../../src/jail/jail.js', import.meta.url));
    const files = fileURLToPath(new URL('../../../src/jail/programFiles.js', import.meta.url));
    const script = `
      const { runJailed } = await import(${JSON.stringify(module)});
      const { findProgram } = await import(${JSON.stringify(files)});
      await runJailed(
        { program: await findProgram('sh', 'tool'), args: ['-c', 'while :; do :; done', '${mark}'], user: ${isRoot ? '{ uid: 1900000000, gid: 1900000000 }' : 'undefined'} },
        { timeoutMs: 60000, maxOutputBytes: 100, signal: new AbortController().signal },
      );`;
    const server = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    const inside = (): boolean => processesThatMention(mark).some(({ name }) => name === 'dash' || name === 'sh');
    await eventually(inside);
    server.kill('SIGKILL');
    await eventually(() => processesThatMention(mark).length === 0, 5000);
  });
});

describe.each(['namespaces', 'landlock'] as const)('KVM with %s', (kind) => {
  // The test itself needs permission to use the device.
  const usable = existsSync('/dev/kvm') && (isRoot || statSync('/dev/kvm').gid === process.getgid?.());

  itWhen(`KVM with ${kind}`, usable ? undefined : 'this user cannot open /dev/kvm')(
    'is there for a program that uses it, and for no other',
    async () => {
      if (kind === 'landlock') overrideIsolation({ kind, as: isRoot ? 'root' : 'user', reason: 'a test' });
      const script = 'import fcntl, os; print(fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR), 0xAE00))';
      const { gid } = statSync('/dev/kvm');
      const found = await findProgram('/usr/bin/python3', 'python');
      const run = async (devices: readonly string[]) => {
        const user = isRoot ? { uid: 1_900_000_000, gid: 1_900_000_000, groups: [gid] } : undefined;
        const plan = await shell('', { program: found, args: ['-I', '-S', '-c', script], devices, user });
        return runJailed(plan, limits);
      };
      // The version of its interface.
      expect((await run(['/dev/kvm'])).stdout).toBe('12\n');
      expect((await run([])).stderr).toMatch(/FileNotFoundError|PermissionError/);
    },
  );
});

describe('confined by Landlock and seccomp', () => {
  beforeEach(() => overrideIsolation({ kind: 'landlock', as: isRoot ? 'root' : 'user', reason: 'a test' }));
  const python = async (script: string, changes: Partial<JailPlan> = {}): Promise<string> => {
    const found = await findProgram('/usr/bin/python3', 'python');
    const plan = await shell('', { program: found, args: ['-I', '-S', '-c', script], ...changes });
    const { exitCode, stdout, stderr } = await runJailed(plan, limits);
    if (exitCode !== 0) throw new Error(`${exitCode}: ${stderr}`);
    return stdout.trim();
  };
  /** What becomes of each statement. */
  const outcomes = async (statements: readonly string[], changes: Partial<JailPlan> = {}): Promise<string[]> => {
    const script = `
import errno, os, socket, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
for one in ${JSON.stringify(statements)}:
    try:
        exec(one)
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])`;
    return (await python(script, changes)).split('\n');
  };

  it('a program can open its own files and nothing else, in any way', async () => {
    const other = join(scene, 'other');
    writeFileSync(other, 'of another');
    chmodSync(other, 0o666);
    chmodSync(scene, 0o777);
    const own = mkdtempSync(join(scene, 'own-'));
    // As if it belonged to another session of a server that is not root.
    if (isRoot) execFileSync('chown', ['1900000000', own, other]);
    const attempts = [
      'open("/etc/passwd")',
      `open("${other}")`,
      `open("${other}", "a")`,
      `os.open("${other}", os.O_TRUNC)`,
      `os.open("${other}", 3)`,
      `os.open("${other}", 3 | os.O_TRUNC)`,
      `os.fchmod(os.open("${other}", 3), 0)`,
      `os.setxattr(os.open("${other}", 3), "user.x", b"x")`,
      `os.truncate("${other}", 1)`,
      `os.chmod("${other}", 0)`,
      `os.utime("${other}")`,
      `os.setxattr("${other}", "user.x", b"x")`,
      `os.unlink("${other}")`,
      `os.rename("${other}", "${other}.2")`,
      `os.link("${other}", "${own}/link")`,
      `open("${scene}/new", "w")`,
      `os.listdir("${scene}")`,
      'open("/proc/1/environ")',
      'os.listdir("/proc")',
    ];
    const refused = await outcomes(attempts, { directory: own });
    expect(refused.map((outcome, index) => [attempts[index], outcome]).filter(([, one]) => one === 'done')).toEqual([]);
    const allowed = [
      'open("x", "w")',
      'os.rename("x", "y")',
      'os.truncate',
      'os.unlink("y")',
      'open("/dev/null", "w")',
    ];
    expect(await outcomes(allowed, { directory: own })).toEqual(allowed.map(() => 'done'));
    expect(readFileSync(other, 'utf8')).toBe('of another');
  });

  it('a program reaches no other process', async () => {
    const neighbour = spawn('sleep', ['100'], { ...(isRoot ? { uid: 1_900_000_000, gid: 1_900_000_000 } : {}) });
    try {
      const pid = neighbour.pid as number;
      await eventually(() => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
      const attempts = [
        `os.kill(${pid}, 0)`,
        `os.kill(-1, 9)`,
        `os.pidfd_open(${pid})`,
        `os.setpriority(os.PRIO_PROCESS, ${pid}, 19)`,
        `open("/proc/${pid}/mem")`,
        `open("/proc/${pid}/environ")`,
        'import fcntl; fcntl.fcntl(1, fcntl.F_SETOWN, 1)',
        ...(process.arch === 'x64'
          ? [
              ...[`call(101, 16, ${pid}, 0, 0)`, `call(302, ${pid}, 7, 0, 0)`, 'call(29, 7, 4096, 0o1666)'],
              // Namespaces of its own, in which it would have capabilities: clone, clone3, unshare.
              ...['call(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0)', 'call(435, 0, 0)', 'call(272, 0x10000000)'],
              ...['call(323, 1)', 'call(425, 1, 0)', 'call(428, -100, b"/", 1)', 'call(430, b"tmpfs", 0)'],
            ]
          : []),
      ];
      const refused = await outcomes(attempts);
      expect(refused.map((outcome, index) => [attempts[index], outcome]).filter(([, one]) => one === 'done')).toEqual(
        [],
      );
      expect(neighbour.exitCode ?? neighbour.signalCode).toBe(null);
      // Its own threads it signals.
      expect(await outcomes(['os.kill(os.getpid(), 0)'])).toEqual(['done']);
    } finally {
      neighbour.kill('SIGKILL');
    }
  });

  it('a program has the network if it needs it, and never services of the host', async () => {
    const attempts = [
      'socket.socket(socket.AF_INET)',
      'socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)',
      'socket.socket(socket.AF_UNIX)',
    ];
    expect(await outcomes(attempts)).toEqual(['EPERM', 'EPERM', 'EPERM']);
    expect(await outcomes(attempts, { network: true })).toEqual(['done', 'done', 'EPERM']);
    // Each socket of a pair of datagram sockets can be connected to any other.
    const pairs = ['socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)', 'socket.socketpair()'];
    expect(await outcomes(pairs, { network: true })).toEqual(['EPERM', 'done']);
  });

  it('and has no power', async () => {
    const status = await say('while read -r line; do echo "$line"; done < /proc/self/status');
    expect(status).toMatch(/CapEff:\s0+\n/);
    expect(status).toMatch(/NoNewPrivs:\s1\n/);
    expect(status).toMatch(/Seccomp:\s2\n/);
    if (isRoot) expect(status).toMatch(/Uid:\s1900000000\s/);
  });
});

/** A server that is not root owns the images that its programs are given. */
describe.each(['namespaces', 'landlock'] as const)('the descriptors of a program, with %s', (kind) => {
  beforeEach(async () => {
    const found = await findIsolation();
    if (kind === 'landlock') overrideIsolation({ kind, as: 'user', reason: 'a test' });
    else if (found.kind === 'namespaces') overrideIsolation({ ...found, as: 'user' });
  });
  const run = async (statement: string, fd: number, changes: Partial<JailPlan> = {}): Promise<number | undefined> => {
    const program = await findProgram('/usr/bin/python3', 'python');
    const args = ['-I', '-S', '-c', `import fcntl, os, struct\n${statement}`];
    const plan = { program, args, user: undefined, ...changes };
    return (await runJailed(plan, { ...limits, fds: [fd] })).exitCode;
  };
  let file: string;
  beforeEach(() => {
    file = join(scene, 'image');
    writeFileSync(file, 'image');
  });

  it('can be opened again if the program needs it, for no more than they were opened for', async () => {
    const [reading, writing, appending] = [openSync(file, 'r'), openSync(file, 'r+'), openSync(file, 'a')];
    const needed = { proc: { reopens: [3] } };
    const again = (mode: string, fd: number, changes: Partial<JailPlan> = needed): Promise<number | undefined> =>
      run(`open("/proc/self/fd/3", "${mode}").close()`, fd, changes);
    const flags = ['3', 'os.O_TRUNC', '3 | os.O_TRUNC'];
    expect(
      await Promise.all([
        ...[again('r', reading), again('r+', writing), again('r+', reading), again('r', appending)],
        ...flags.map((one) => run(`os.open("/proc/self/fd/3", ${one})`, reading, needed)),
        ...[again('r', reading, {}), again('r', reading, { proc: { reopens: [4] } })],
      ]),
    ).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 1]);
    for (const fd of [reading, writing, appending]) closeSync(fd);
    expect(readFileSync(file, 'utf8')).toBe('image');
  });

  it('cannot be used to change modes, times and other attributes, or to keep others from opening the file', async () => {
    const reading = openSync(file, 'r');
    const before = statSync(file, { bigint: true });
    const attempts = [
      ...['os.fchmod(3, 0)', 'os.fchown(3, -1, -1)', 'os.utime(3)'],
      ...['os.setxattr(3, "user.guestfs-grpc.raw", b"")', 'os.removexattr(3, "user.guestfs-grpc.raw")'],
      ...['fcntl.ioctl(3, 0x40086602, struct.pack("=Q", 0x40))', 'fcntl.fcntl(3, 1024, 0)'],
    ];
    const outcomes = await Promise.all(attempts.map((attempt) => run(attempt, reading)));
    closeSync(reading);
    expect(outcomes).toEqual(attempts.map(() => 1));
    expect(statSync(file, { bigint: true })).toEqual(before);
  });

  it('do not lead from a directory to the one above', async () => {
    const inner = join(scene, 'inner');
    mkdirSync(inner);
    writeFileSync(join(inner, 'own'), 'own');
    const directory = openSync(inner, 'r');
    const own = 'open("/proc/self/fd/3/own").close()';
    const above = 'open("/proc/self/fd/3/../image").close()';
    const write = 'open("/proc/self/fd/3/new", "w").close()';
    const attributes = { attributes: true };
    expect([
      ...[await run(own, directory), await run(above, directory), await run(write, directory)],
      ...[await run(above, directory, attributes), await run(write, directory, attributes)],
    ]).toEqual([0, 1, 1, 1, 0]);
    closeSync(directory);
  });
});

describe('without namespaces and Landlock', () => {
  beforeEach(() => overrideIsolation({ kind: 'none', as: isRoot ? 'root' : 'user', reason: 'a test' }));

  it('a program still has no privileges', async () => {
    const status = await say('cat /proc/self/status');
    expect(status).toMatch(/CapEff:\s0+\n/);
    expect(status).toMatch(/NoNewPrivs:\s1\n/);
    if (isRoot) expect(status).toMatch(/Uid:\s1900000000\s/);
  });

  it('and ends with its own exit code', async () => {
    const started = await start('exit 7');
    expect(await started.exited).toEqual({ exitCode: 7, signal: undefined });
  });
});

describe('a server that is killed while it starts a program', () => {
  const STARTER = fileURLToPath(new URL('../../support/jailStarter.js', import.meta.url));
  /** Longer than a start takes on an idle machine, so that some are complete. */
  const WINDOW_MS = 60;
  const KILLS = 40;

  it.each([
    ['process', ''],
    ['tool', ''],
    ['process', 'landlock'],
    ['process', 'none'],
  ])(
    'leaves nothing behind, at whatever moment it is killed (%s, isolation "%s")',
    async (how, isolation) => {
      const mark = `killed-${randomUUID()}`;
      for (let kill = 0; kill < KILLS; kill += 1) {
        const starter = spawn(process.execPath, [STARTER, how, isolation, mark], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        await once(starter.stdout, 'data');
        await sleep((WINDOW_MS * kill) / KILLS);
        starter.kill('SIGKILL');
        await once(starter, 'exit');
      }
      await eventually(() => processesThatMention(mark).length === 0, 5000);
    },
    120_000,
  );
});
