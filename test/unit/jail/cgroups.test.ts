import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { cgroupPlaces } from '../../../src/jail/cgroupPlaces.js';
import { createCgroup, findCgroups, sweepCgroups } from '../../../src/jail/cgroups.js';
import { jailCommand } from '../../../src/jail/jailArguments.js';
import { itWhen } from '../../support/itWhen.js';
import { eventually } from '../../support/eventually.js';

jest.setTimeout(30_000);
const cgroups = await findCgroups();
const itWhereCgroups = itWhen('cgroups', cgroups.version === undefined ? cgroups.reason : undefined);

const V1 = `
35 34 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 34 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
37 34 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`;

describe('the cgroups of a process', () => {
  it('are below where each controller is mounted', () => {
    const places = cgroupPlaces('4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/x\n0::/a\n', V1);
    expect([...places]).toEqual([
      ['memory', { version: 1, directory: '/sys/fs/cgroup/memory/a/b' }],
      ['cpu', { version: 1, directory: '/sys/fs/cgroup/cpu,cpuacct' }],
      ['cpuacct', { version: 1, directory: '/sys/fs/cgroup/cpu,cpuacct' }],
      ['unified', { version: 2, directory: '/sys/fs/cgroup/unified/a' }],
    ]);
  });

  it('are at the mount point if only a part of the hierarchy is mounted', () => {
    const mounts = '9 8 0:30 /docker/xyz /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate';
    const directory = (path: string): string | undefined =>
      cgroupPlaces(`0::${path}`, mounts).get('unified')?.directory;
    expect(directory('/docker/xyz')).toBe('/sys/fs/cgroup');
    expect(directory('/docker/xyz/in')).toBe('/sys/fs/cgroup/in');
    expect(directory('/')).toBe('/sys/fs/cgroup');
    expect(cgroupPlaces('', mounts).size).toBe(0);
  });
});

describe('a cgroup', () => {
  const started = (entries: readonly string[], script: string) => {
    const { executable, args } = jailCommand(
      { kind: 'none', as: 'root', reason: 'a test' },
      {
        program: { path: '/bin/sh', places: [] },
        args: ['-c', script],
        user: { uid: 1_900_000_000, gid: 1_900_000_000 },
        cgroup: entries,
      },
      undefined,
    );
    return spawn(executable, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  };

  itWhereCgroups('limits the processes in it, and is removed together with those that are left', async () => {
    const cgroup = await createCgroup({ memory: 64 << 20, processes: 5 });
    if (cgroup === undefined) throw new Error('there is none');
    const directories = cgroup.entries.map((entry) => join(entry, '..'));
    expect(directories.every((path) => existsSync(path))).toBe(true);
    // The second process does not end with the first.
    const child = started(cgroup.entries, 'setsid sleep 1000 & echo started; wait');
    await once(child.stdout, 'data');
    const inside = (): string[] =>
      readFileSync(cgroup.entries[0] ?? '', 'latin1')
        .trim()
        .split('\n');
    expect(inside()).toContain(String(child.pid));
    expect(inside().length).toBeGreaterThan(1);
    const pids = inside();
    await cgroup.remove();
    expect(directories.filter((path) => existsSync(path))).toEqual([]);
    await eventually(() => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    await cgroup.remove();
  });

  itWhereCgroups('limits the number of processes, and memory of every kind', async () => {
    const cgroup = await createCgroup({ memory: 64 << 20, processes: 5 });
    if (cgroup === undefined) throw new Error('there is none');
    const many = started(cgroup.entries, 'for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait');
    expect((await once(many, 'exit'))[0]).not.toBe(0);
    const shared =
      'exec python3 -I -S -c "import mmap; m = mmap.mmap(-1, 200 << 20); [m.write(bytes(1 << 20)) for _ in range(200)]"';
    const big = started(cgroup.entries, shared);
    expect((await once(big, 'exit'))[1]).toBe('SIGKILL');
    await cgroup.remove();
  });

  itWhereCgroups('of a dead server is removed by the next one, and other cgroups are not', async () => {
    if (cgroups.version === undefined) return;
    const [parent = ''] = cgroups.parents.values();
    const own = await createCgroup({ memory: 64 << 20, processes: 5 });
    const dead = /^.*guestfs-grpc-(\d+)-/.exec(own?.entries[0] ?? '')?.[1] ?? '';
    const left = join(parent, `guestfs-grpc-${dead}-1-77-3`);
    const others = [join(parent, `guestfs-grpc-${dead}1-1-77-3`), join(parent, `guestfs-grpc-of-${process.pid}`)];
    for (const path of [left, ...others]) mkdirSync(path, { recursive: true });
    try {
      const child = started([join(left, 'cgroup.procs')], 'echo started; exec sleep 1000');
      await once(child.stdout, 'data');
      // Tests that run beside this one may have left some, too.
      expect(await sweepCgroups()).toBeGreaterThan(0);
      await eventually(() => child.signalCode === 'SIGKILL');
      const names = readdirSync(parent).map((name) => join(parent, name));
      expect(names).not.toContain(left);
      expect(names).toEqual(expect.arrayContaining(others));
    } finally {
      for (const path of others) rmdirSync(path);
    }
    await own?.remove();
  });
});
