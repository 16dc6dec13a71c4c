import { mkdtempSync, realpathSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { GuestfsError } from '../../../src/common/errors.js';
import type { LibraryContext } from '../../../src/library/context.js';
import { propertyActions } from '../../../src/library/property.js';
import { acceleratorOf } from '../../../src/session/backendSettings.js';
import { launched } from '../../fakes/sessions.js';
import { aside } from './fakes.js';

function server(): LibraryContext {
  return aside('set_path');
}

describe('numbers and names', () => {
  it('have the limits of the library', async () => {
    const context = server();
    await propertyActions.set_memsize(context, { memsize: 256 });
    expect(await propertyActions.get_memsize(context, {})).toEqual({ memsize: 256 });
    await expect(propertyActions.set_memsize(context, { memsize: 255 })).rejects.toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringContaining('at least 256'),
    });
    await propertyActions.set_smp(context, { smp: 255 });
    expect(await propertyActions.get_smp(context, {})).toEqual({ smp: 255 });
    for (const smp of [0, -1, 256])
      await expect(propertyActions.set_smp(context, { smp })).rejects.toMatchObject({ reason: 'BAD_ARGUMENT' });
    await propertyActions.set_identifier(context, { identifier: 'aZ_0-' });
    expect(await propertyActions.get_identifier(context, {})).toEqual({ identifier: 'aZ_0-' });
    for (const identifier of ['a b', 'é', 'a\n', 'a/b'])
      await expect(propertyActions.set_identifier(context, { identifier })).rejects.toMatchObject({
        reason: 'BAD_ARGUMENT',
      });
    await propertyActions.set_identifier(context, { identifier: '' });
  });
});

describe('switches', () => {
  it.each([
    ['autosync', true],
    ['direct', false],
    ['network', false],
    ['pgroup', false],
    ['selinux', false],
    ['trace', false],
    ['verbose', false],
  ] as const)('%s is %s initially, and then the value that was set', async (name, first) => {
    const context = server();
    type Get = (context: LibraryContext, request: object) => Promise<Record<string, boolean>>;
    const get = propertyActions[`get_${name}`] as unknown as Get;
    const set = propertyActions[`set_${name}`] as unknown as Get;
    expect(await get(context, {})).toEqual({ [name]: first });
    await set(context, { [name]: !first });
    expect(await get(context, {})).toEqual({ [name]: !first });
  });

  it('recovery_proc and program', async () => {
    const context = server();
    expect(await propertyActions.get_recovery_proc(context, {})).toEqual({ recoveryproc: true });
    await propertyActions.set_recovery_proc(context, { recoveryproc: false });
    expect(await propertyActions.get_recovery_proc(context, {})).toEqual({ recoveryproc: false });
    await propertyActions.set_program(context, { program: 'virt-p2v' });
    expect(await propertyActions.get_program(context, {})).toEqual({ program: 'virt-p2v' });
  });
});

describe('settings of the host', () => {
  const made: string[] = [];
  const directory = (): string => {
    const path = realpathSync(mkdtempSync(join(tmpdir(), 'property-')));
    made.push(path);
    return path;
  };
  afterEach(() => {
    for (const path of made.splice(0)) rmdirSync(path);
  });

  it('append and path revert to the default when unset', async () => {
    const context = server();
    await propertyActions.set_append(context, { append: 'foo=1' });
    expect(await propertyActions.get_append(context, {})).toEqual({ append: 'foo=1' });
    await propertyActions.set_append(context, {});
    expect(await propertyActions.get_append(context, {})).toEqual({ append: undefined });
    await propertyActions.set_path(context, { searchpath: '/a:/b' });
    expect(await propertyActions.get_path(context, {})).toEqual({ path: '/a:/b' });
    await propertyActions.set_path(context, {});
    expect(context.session.settings.path).toBe('/appliance');
    // Where the server has its appliance is none of the client's business; what it sees can be set again.
    expect(await propertyActions.get_path(context, {})).toEqual({ path: '/usr/lib/guestfs' });
    await propertyActions.set_path(context, { searchpath: '/usr/lib/guestfs' });
    expect(context.session.settings.path).toBe('/appliance');
  });

  it('the hypervisor is the one that was set, or the default one', async () => {
    const context = server();
    expect((await propertyActions.get_hv(context, {})).hv).toMatch(/qemu-system-/);
    await propertyActions.set_hv(context, { hv: '/opt/qemu' });
    expect(await propertyActions.get_hv(context, {})).toEqual({ hv: '/opt/qemu' });
    expect(await propertyActions.get_qemu(context, {})).toEqual({ hv: '/opt/qemu' });
    await propertyActions.set_qemu(context, {});
    expect((await propertyActions.get_qemu(context, {})).hv).toMatch(/qemu-system-/);
  });

  it('directories are made absolute, must exist, and revert to the default', async () => {
    const context = server();
    const real = directory();
    const link = `${real}-link`;
    symlinkSync(real, link);
    await propertyActions.set_tmpdir(context, { tmpdir: link });
    unlinkSync(link);
    expect(context.session.settings.tmpdir).toBe(real);
    // Where a link leads is not said.
    expect(await propertyActions.get_tmpdir(context, {})).toEqual({ tmpdir: link });
    expect(await propertyActions.get_sockdir(context, {})).toEqual({ sockdir: link });
    await expect(propertyActions.set_tmpdir(context, { tmpdir: `${real}/nosuch` })).rejects.toMatchObject({
      reason: 'ENOENT',
    });
    await expect(propertyActions.set_cachedir(context, { cachedir: '/etc/passwd' })).rejects.toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringContaining('not a directory'),
    });
    await propertyActions.set_tmpdir(context, {});
    expect(await propertyActions.get_tmpdir(context, {})).toEqual({ tmpdir: '/tmp' });
    expect(await propertyActions.get_cachedir(context, {})).toEqual({ cachedir: '/var/tmp' });
  });

  it('options of qemu are kept in order, except reserved ones', async () => {
    const context = server();
    await propertyActions.config(context, { hvparam: '-a', hvvalue: '1' });
    await propertyActions.config(context, { hvparam: '-b' });
    expect(context.session.settings.extraQemuArguments).toEqual([
      ['-a', '1'],
      ['-b', undefined],
    ]);
    for (const hvparam of ['-vnc', '--vnc', 'vnc', 'kernel', ''])
      await expect(propertyActions.config(context, { hvparam, hvvalue: ':1' })).rejects.toMatchObject({
        reason: 'BAD_ARGUMENT',
      });
  });
});

describe('the environment of the server', () => {
  const VARIABLES = ['LIBGUESTFS_TMPDIR', 'LIBGUESTFS_PATH', 'LIBGUESTFS_HV', 'LIBGUESTFS_BACKEND'] as const;
  const before = VARIABLES.map((name) => process.env[name]);
  afterEach(() => {
    VARIABLES.forEach((name, index) => {
      if (before[index] === undefined) delete process.env[name];
      else process.env[name] = before[index];
    });
  });

  it('counts, and its paths are shown neither in answers nor in errors', async () => {
    const context = server();
    Object.assign(process.env, { LIBGUESTFS_PATH: '/private/appliance', LIBGUESTFS_HV: '/private/qemu' });
    await propertyActions.parse_environment(context, {});
    expect(context.session.settings).toMatchObject({ path: '/private/appliance', hv: '/private/qemu' });
    expect(await propertyActions.get_path(context, {})).toEqual({ path: '/usr/lib/guestfs' });
    expect((await propertyActions.get_hv(context, {})).hv).toMatch(/^qemu-system-\w+$/);
    for (const [name, value, reason] of [
      ['LIBGUESTFS_TMPDIR', '/private/nosuch', 'ENOENT'],
      ['LIBGUESTFS_BACKEND', 'libvirt:test:///private/file', 'BAD_ARGUMENT'],
    ] as const) {
      process.env[name] = value;
      const error: unknown = await propertyActions.parse_environment(context, {}).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ reason });
      expect(`${(error as Error).message} ${JSON.stringify((error as GuestfsError).details.fields)}`).not.toContain(
        'private',
      );
      delete process.env[name];
    }
  });
});

describe('backend settings', () => {
  it('are found by name', async () => {
    const context = server();
    await propertyActions.set_backend_settings(context, { settings: ['a', 'b=1', 'bb=2', 'c='] });
    expect(await propertyActions.get_backend_setting(context, { name: 'a' })).toEqual({ val: '1' });
    expect(await propertyActions.get_backend_setting(context, { name: 'bb' })).toEqual({ val: '2' });
    expect(await propertyActions.get_backend_setting(context, { name: 'c' })).toEqual({ val: '' });
    await expect(propertyActions.get_backend_setting(context, { name: 'd' })).rejects.toMatchObject({
      reason: 'ESRCH',
    });
  });

  it('are replaced and removed', async () => {
    const context = server();
    await propertyActions.set_backend_settings(context, { settings: ['a', 'a=2', 'b'] });
    await propertyActions.set_backend_setting(context, { name: 'a', val: '3' });
    expect(await propertyActions.get_backend_settings(context, {})).toEqual({ settings: ['b', 'a=3'] });
    expect(await propertyActions.clear_backend_setting(context, { name: 'a' })).toEqual({ count: 1 });
    expect(await propertyActions.clear_backend_setting(context, { name: 'a' })).toEqual({ count: 0 });
  });

  it.each([
    [['force_tcg'], 'tcg'],
    [['force_tcg=1'], 'tcg'],
    [['force_tcg=0'], 'auto'],
    [['force_kvm=true'], 'kvm'],
    [['other'], 'auto'],
  ] as const)('%j ask for %s', async (settings, accelerator) => {
    const context = server();
    await propertyActions.set_backend_settings(context, { settings: [...settings] });
    expect(acceleratorOf(context.session.settings)).toBe(accelerator);
    await propertyActions.set_backend_settings(context, { settings: [] });
    expect(acceleratorOf(context.session.settings)).toBe('auto');
  });

  it.each([[['force_tcg', 'force_kvm']], [['force_tcg=maybe']]])('%j make no sense at launch', async (settings) => {
    const context = server();
    await propertyActions.set_backend_settings(context, { settings });
    expect(() => acceleratorOf(context.session.settings)).toThrow(expect.objectContaining({ reason: 'BAD_ARGUMENT' }));
  });

  it('the backend has the names of the library, and there is one', async () => {
    const context = server();
    expect(await propertyActions.get_backend(context, {})).toEqual({ backend: 'direct' });
    expect(await propertyActions.get_attach_method(context, {})).toEqual({ backend: 'appliance' });
    await propertyActions.set_attach_method(context, { backend: 'appliance' });
    expect(await propertyActions.get_backend(context, {})).toEqual({ backend: 'direct' });
    for (const backend of ['libvirt', 'unix:/x', 'directly', ''])
      await expect(propertyActions.set_backend(context, { backend })).rejects.toMatchObject({ reason: 'BAD_ARGUMENT' });
  });
});

describe('parse_environment_list', () => {
  const parse = async (...environment: string[]): Promise<LibraryContext['session']['settings']> => {
    const context = server();
    await propertyActions.parse_environment_list(context, { environment });
    return context.session.settings;
  };

  it('parses the same variables as the library', async () => {
    const given = await parse(
      'LIBGUESTFS_TRACE=on',
      'LIBGUESTFS_DEBUG=1',
      'LIBGUESTFS_MEMSIZE= 512 MB',
      'LIBGUESTFS_PATH=/p',
      'LIBGUESTFS_QEMU=/q',
      'LIBGUESTFS_APPEND=a b',
      'LIBGUESTFS_BACKEND_SETTINGS=force_tcg:x=1',
      'LIBGUESTFS_ATTACH_METHOD=appliance',
      'OTHER=1',
    );
    expect(given).toMatchObject({
      trace: true,
      verbose: true,
      memsizeMb: 512,
      path: '/p',
      hv: '/q',
      append: 'a b',
      backendSettings: ['force_tcg', 'x=1'],
    });
  });

  it('treats empty variables as unset where the library does', async () => {
    expect(
      await parse(
        'LIBGUESTFS_MEMSIZE=',
        'LIBGUESTFS_PATH=',
        'LIBGUESTFS_HV=',
        'LIBGUESTFS_TMPDIR=',
        'LIBGUESTFS_APPEND=',
      ),
    ).toMatchObject({ memsizeMb: 1280, path: '/appliance', hv: undefined, append: '' });
  });

  it('sets both directories by TMPDIR', async () => {
    expect(await parse('TMPDIR=/')).toMatchObject({ tmpdir: '/', cachedir: '/' });
    expect(await parse('TMPDIR=/', 'LIBGUESTFS_CACHEDIR=/tmp')).toMatchObject({
      tmpdir: '/',
      cachedir: realpathSync('/tmp'),
    });
  });

  it.each([
    'LIBGUESTFS_TRACE=2',
    'LIBGUESTFS_TRACE=',
    'LIBGUESTFS_DEBUG=maybe',
    'LIBGUESTFS_MEMSIZE=much',
    'LIBGUESTFS_MEMSIZE=12x',
    'LIBGUESTFS_MEMSIZE=99999999999',
    'LIBGUESTFS_BACKEND=libvirt',
    'LIBGUESTFS_TMPDIR=/dev/null',
  ])('refuses %s', async (variable) => {
    await expect(parse(variable)).rejects.toMatchObject({ reason: 'BAD_ARGUMENT' });
  });

  it('leaves a directory that was set to TMPDIR alone', async () => {
    const context = server();
    await propertyActions.set_tmpdir(context, { tmpdir: '/dev' });
    await propertyActions.parse_environment_list(context, { environment: ['TMPDIR=/'] });
    expect(context.session.settings).toMatchObject({ tmpdir: '/dev', cachedir: '/' });
  });

  it('reports why a directory cannot be used', async () => {
    await expect(parse('LIBGUESTFS_TMPDIR=/nosuch')).rejects.toMatchObject({ reason: 'ENOENT' });
  });

  it('changes only what can be changed for a launched appliance', async () => {
    const { session } = await launched();
    const context = aside('parse_environment_list', { session });
    await propertyActions.parse_environment_list(context, {
      environment: ['LIBGUESTFS_TRACE=1', 'TMPDIR=/', 'LIBGUESTFS_MEMSIZE='],
    });
    expect(context.session.settings).toMatchObject({ trace: true, tmpdir: '/', cachedir: '/' });
    for (const variable of [
      'LIBGUESTFS_MEMSIZE=512',
      'LIBGUESTFS_PATH=/p',
      'LIBGUESTFS_APPEND=',
      'LIBGUESTFS_TMPDIR=/',
      'LIBGUESTFS_BACKEND_SETTINGS=x',
    ]) {
      await expect(propertyActions.parse_environment_list(context, { environment: [variable] })).rejects.toMatchObject({
        reason: 'WRONG_STATE',
      });
    }
  });
});
