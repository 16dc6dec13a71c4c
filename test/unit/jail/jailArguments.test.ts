import { describe, expect, it } from '@jest/globals';
import { jailCommand, type Isolation, type JailPlan } from '../../../src/jail/jailArguments.js';
import type { Program } from '../../../src/jail/programFiles.js';

const program = (path: string, ...more: string[]): Program => ({
  path,
  places: [path, ...more].map((one) => ({ kind: 'read-only', path: one })),
});
const asRoot: Isolation = {
  kind: 'namespaces',
  as: 'root',
  bwrap: '/usr/bin/bwrap',
  setpriv: program('/usr/bin/setpriv', '/usr/lib'),
};
const asUser: Isolation = { ...asRoot, as: 'user' };
const plan: JailPlan = {
  program: {
    path: '/usr/bin/tool',
    places: [...program('/usr/bin/tool', '/usr/lib').places, { kind: 'link', path: '/lib', target: 'usr/lib' }],
  },
  args: ['--do', 'it'],
  user: { uid: 5, gid: 6 },
};
/** The command, with names in the place of scripts. */
const words = (isolation: Isolation, changes: Partial<JailPlan> = {}, statusFd?: number): string => {
  const { executable, args } = jailCommand(isolation, { ...plan, ...changes }, statusFd);
  const nameOf = (word: string): string => {
    if (word.includes('$PPID')) return 'HAS_PARENT';
    return word.includes('read -r -u') ? 'GUARD' : word;
  };
  return [executable, ...args].map(nameOf).join(' ');
};

describe('the command of a jail', () => {
  it('is as expected for a server that is root', () => {
    expect(words(asRoot, { directory: '/run/m', limits: { data: 7, openFiles: 8 } }, 9)).toBe(
      [
        'bash -c GUARD bash 9 -- prlimit --core=0 --data=7 --nofile=8 -- /usr/bin/bwrap',
        '--die-with-parent --unshare-pid --unshare-ipc --unshare-uts',
        '--setenv PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --unsetenv SHLVL --unshare-net',
        '--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP --cap-add CAP_DAC_READ_SEARCH --info-fd 9',
        '--perms 0755 --dir /dev --perms 0755 --dir /run --perms 0755 --dir /usr --perms 0755 --dir /usr/bin',
        '--ro-bind /usr/bin/tool /usr/bin/tool --ro-bind /usr/lib /usr/lib --symlink usr/lib /lib',
        '--ro-bind /usr/bin/setpriv /usr/bin/setpriv',
        '--dev-bind /dev/null /dev/null --dev-bind /dev/zero /dev/zero',
        '--dev-bind /dev/random /dev/random --dev-bind /dev/urandom /dev/urandom',
        '--symlink /proc/self/fd /dev/fd --symlink /proc/self/fd/0 /dev/stdin',
        '--symlink /proc/self/fd/1 /dev/stdout --symlink /proc/self/fd/2 /dev/stderr',
        '--proc /proc --remount-ro /proc --bind /run/m /run/m --remount-ro / --chdir /run/m --',
        '/usr/bin/setpriv --pdeathsig KILL --no-new-privs --reuid 5 --regid 6 --clear-groups',
        '--inh-caps=-all --bounding-set=-all -- /usr/bin/tool --do it',
      ].join(' '),
    );
  });

  it('has a user namespace if the server is not root, and no change of user', () => {
    const command = words(asUser, { user: undefined });
    expect(command).toContain('--unshare-user');
    expect(command).not.toMatch(/setpriv|--cap-/);
    expect(command).toMatch(/ -- \/usr\/bin\/tool --do it$/);
  });

  it('keeps the requested network, devices and capabilities, and no others', () => {
    expect(words(asRoot, { network: true })).not.toContain('--unshare-net');
    expect(words(asRoot)).not.toContain('/dev/kvm');
    expect(words(asRoot, { devices: ['/dev/kvm'] })).toContain('--dev-bind /dev/kvm /dev/kvm');
    const powers = words(asRoot, { user: undefined, capabilities: ['CAP_DAC_OVERRIDE'] });
    expect(powers).toContain('--cap-drop ALL --cap-add CAP_DAC_OVERRIDE');
    expect(powers).not.toContain('CAP_SETUID');
    expect(words(asRoot, { user: { uid: 5, gid: 6, groups: [7, 8] } })).toContain('--groups 7,8');
  });

  it('has no /proc for a program that does not need it, unless what confines the program does', () => {
    expect(words(asRoot)).toContain('--proc /proc');
    expect(words(asRoot, { proc: 'unused' })).not.toContain('/proc');
    const withPython = { ...asUser, python: program('/usr/bin/python3') };
    expect(words(withPython, { proc: 'unused', user: undefined })).toContain('--proc /proc');
  });

  it('binds each place once, and none inside another', () => {
    const command = words(asRoot, { places: program('/usr/lib/inner', '/usr/bin/tool', '/etc/hosts').places });
    expect(command.match(/--ro-bind \/usr\/bin\/tool /g)).toHaveLength(1);
    expect(command).not.toContain('/usr/lib/inner');
    expect(command).toContain('--dir /etc');
    expect(command).toContain('--ro-bind /etc/hosts /etc/hosts');
  });

  it('confines itself with Landlock if there are no namespaces', () => {
    const confined: Isolation = { kind: 'landlock', as: 'user', reason: 'no bwrap' };
    const { executable, args, cwd } = jailCommand(
      confined,
      { ...plan, user: undefined, directory: '/d', devices: ['/dev/kvm'], attributes: true },
      undefined,
    );
    const text = [executable, ...args.map((word) => (word.includes('\n') ? 'PROGRAM' : word))].join(' ');
    expect(text).toMatch(
      /^prlimit --core=0 -- setpriv --pdeathsig KILL --no-new-privs -- sh -c \[ .* sh \d+ \S*python3 -I -S -c PROGRAM /,
    );
    expect(text).toContain('PROGRAM read=/usr/bin/tool read=/usr/lib device=/dev/null');
    expect(text).toMatch(/device=\/dev\/kvm write=\. attributes= -- \/usr\/bin\/tool --do it$/);
    expect(cwd).toBe('/d');
    expect(words(confined, { user: undefined, network: true })).toContain(' network= -- /usr/bin/tool');
    expect(words({ ...confined, as: 'root' })).toContain('--reuid 5 --regid 6');
  });

  it('confines itself in a jail as well if its descriptors could lead out of it', () => {
    const python = program('/usr/bin/python3.99', '/usr/lib/python3.99');
    const said = (isolation: Isolation, changes: Partial<JailPlan> = {}): string => {
      const { executable, args } = jailCommand(isolation, { ...plan, user: undefined, ...changes }, undefined);
      return [executable, ...args.map((word) => (word.includes('\n') ? 'PROGRAM' : word))].join(' ');
    };
    const user = { ...asUser, python };
    expect(said(user, { directory: '/d' })).toMatch(
      / --ro-bind \/usr\/bin\/python3.99 .* -- \/usr\/bin\/python3.99 -I -S -c PROGRAM read=\/ device=\/dev\/null .* write=. unix= -- \/usr\/bin\/tool --do it$/,
    );
    expect(said(user, { network: true })).toMatch(/ network= -- \/usr\/bin\/tool --do it$/);
    expect(said(user, { confinesItself: true })).not.toContain('python');
    // A root server's images belong to other users than its programs do, but its archivers have a directory, and its
    // machines open descriptors again.
    const root = { ...asRoot, python };
    expect(said(root)).not.toContain('python');
    expect(said(root, { user: { uid: 5, gid: 6 }, proc: { reopens: [7, 9] } })).toMatch(
      /--bounding-set=-all -- \/usr\/bin\/python3.99 .* reopened=7 reopened=9 .*unix= -- \/usr\/bin\/tool --do it$/,
    );
    expect(said(root, { user: { uid: 5, gid: 6 }, attributes: true })).toMatch(
      /--bounding-set=-all -- \/usr\/bin\/python3.99 .* unix= attributes= -- \/usr\/bin\/tool --do it$/,
    );
  });

  it('is as strict as possible without either', () => {
    const none: Isolation = { kind: 'none', as: 'root', reason: 'no bwrap' };
    expect(words(none, { limits: { processes: 3, cpuSeconds: 4, addressSpace: 5, fileSize: 6 } })).toBe(
      `prlimit --core=0 --as=5 --cpu=4 --fsize=6 --nproc=3 -- setpriv --pdeathsig KILL --no-new-privs --reuid 5 --regid 6 --clear-groups --inh-caps=-all --bounding-set=-all -- sh -c HAS_PARENT sh ${process.pid} /usr/bin/tool --do it`,
    );
    expect(words(none, { user: undefined, capabilities: ['CAP_CHOWN'] })).toContain('--bounding-set=-all,+chown');
    expect(words({ ...none, as: 'user' }, { user: undefined })).toBe(
      `prlimit --core=0 -- setpriv --pdeathsig KILL --no-new-privs -- sh -c HAS_PARENT sh ${process.pid} /usr/bin/tool --do it`,
    );
    expect(jailCommand(none, { ...plan, directory: '/d' }, undefined).cwd).toBe('/d');
  });
});
