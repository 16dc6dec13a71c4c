/** Real jails on this machine. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { runJailed, startJailed } from '../../../src/jail/jail.js';
import { findIsolation, overrideIsolation } from '../../../src/jail/isolation.js';
import type { JailPlan } from '../../../src/jail/jailArguments.js';
import { findProgram } from '../../../src/jail/programFiles.js';
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

describe('without namespaces', () => {
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
