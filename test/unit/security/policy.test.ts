/** Permissions: which an RPC needs for which requests. */
import { describe, expect, it } from '@jest/globals';
import { rulesOf, serviceRules, type CallRules } from '../../../src/actions/callRules.js';
import { ALLOWABLE, requireAllowed, requireFound, type Allowable } from '../../../src/security/policy.js';
import { action } from '../../fakes/sessions.js';

const without = (...missing: Allowable[]): ReadonlySet<Allowable> =>
  new Set(ALLOWABLE.filter((permission) => !missing.includes(permission)));
const check = (rules: CallRules, request: object, missing: Allowable) => (): void =>
  requireAllowed(rules, request, { allowed: without(missing), debugService: true });
const ofAction = (name: string): CallRules => rulesOf(action(name));
const refusal = (permission: Allowable): unknown =>
  expect.objectContaining({
    reason: 'NOT_ALLOWED',
    message: expect.stringContaining(`--allow ${permission}`),
    details: { metadata: { setting: `--allow ${permission}` } },
  });

const CREATE = serviceRules.CreateSession;
const INSPECT = serviceRules.Inspect;
const remote = { source: { $case: 'remote', value: { protocol: 'ssh' } } };
const local = { source: { $case: 'path', value: 'a.img' } };

describe('a permission that depends on an argument', () => {
  it.each<[string, CallRules, Allowable, object, object]>([
    ['network', ofAction('set_network'), 'network', { network: true }, { network: false }],
    ['a protocol', ofAction('add_drive'), 'remote-drives', { protocol: 'nbd' }, { protocol: 'file' }],
    ['one of the protocols there are', ofAction('add_drive'), 'remote-drives', { protocol: 'ftp' }, { protocol: 'x' }],
    [
      'a variable',
      ofAction('parse_environment_list'),
      'custom-qemu',
      { environment: ['A=1', 'LIBGUESTFS_HV=/bin/sh'] },
      { environment: ['LIBGUESTFS_HV=', 'XLIBGUESTFS_HV=/bin/sh', 'LIBGUESTFS_MEMSIZE=512'] },
    ],
    ['its older name', ofAction('parse_environment_list'), 'custom-qemu', { environment: ['LIBGUESTFS_QEMU=x'] }, {}],
    ['settings', CREATE, 'network', { settings: { network: true }, drives: [] }, { settings: undefined, drives: [] }],
    ['settings of Inspect', INSPECT, 'network', { settings: { network: true } }, { settings: { network: false } }],
    ['a drive among others', CREATE, 'remote-drives', { drives: [local, remote] }, { drives: [local] }],
    ['a drive of Inspect', INSPECT, 'remote-drives', { drives: [remote] }, { drives: [{ source: undefined }] }],
  ])('is needed for %s, and only then', (_what, rules, permission, asking, other) => {
    expect(check(rules, asking, permission)).toThrow(refusal(permission));
    expect(check(rules, other, permission)).not.toThrow();
    expect(() => requireAllowed(rules, asking, { allowed: new Set(ALLOWABLE), debugService: false })).not.toThrow();
  });

  it("is needed for a variable of the server's own environment", () => {
    process.env.LIBGUESTFS_HV = '/bin/sh';
    try {
      expect(check(ofAction('parse_environment'), {}, 'custom-qemu')).toThrow(refusal('custom-qemu'));
      process.env.LIBGUESTFS_HV = '';
      expect(check(ofAction('parse_environment'), {}, 'custom-qemu')).not.toThrow();
    } finally {
      delete process.env.LIBGUESTFS_HV;
    }
  });
});

describe('a libvirt URI of a client', () => {
  const uri = (libvirturi: string) => check(ofAction('add_domain'), { dom: 'x', libvirturi }, 'custom-qemu');

  it.each([
    '',
    'name',
    'qemu:///system',
    'test:///images/node+ext.xml',
    'qemu+ssh://user@host:22/system',
    'qemu+tls://[::1]/session',
    'esx://host/?no_verify=1',
    'qemu+ssh://host/system?No_Tty=1&no_verify=1',
    'qemu:///system?',
    'qemu:///system?no_verify',
    'qemu:///system?&;no_tty&',
    'qemu:///system?=x&=no_verify',
  ])('is taken: %s', (libvirturi) => {
    expect(uri(libvirturi)).not.toThrow();
  });

  it.each([
    'qemu+ext://host/system?command=/images/evil',
    'qemu+EXT://host/system',
    'qemu+ssh://host/system?command=/images/evil',
    'qemu+ssh://host/system?COMMAND=/images/evil',
    'qemu+ssh://host/system?%63omm%61nd=/images/evil',
    'qemu+ssh://host/system?no_verify=1&command=/images/evil',
    'qemu+ssh://host/system?no_verify=1;command=/images/evil',
    'qemu+ssh://host/system?no_verify=1;\ncommand=/images/evil',
    'qemu+ssh://host/system?no_verify=1?&command',
    'qemu+ssh://host/system?no_verifyx=1',
    'qemu+ssh://host/system?\ncommand',
    'qemu://host/system?pkipath=/images',
    'qemu+libssh2://host/system?known_hosts=/etc/cron.d/x',
    'qemu+unix:///system?socket=/run/other',
    'qemu:///embed?root=/images',
  ])('is refused if clients may not run programs: %j', (libvirturi) => {
    expect(uri(libvirturi)).toThrow(refusal('custom-qemu'));
  });

  it('is checked in linear time', () => {
    const started = performance.now();
    expect(uri(`qemu:///system?${'no_tty&'.repeat(100_000)}`)).not.toThrow();
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('a permission that depends on what is found', () => {
  const policy = { allowed: without('remote-drives'), debugService: true };

  it('is required when it is found', () => {
    expect(() => requireAllowed(ofAction('add_domain'), { dom: 'x' }, policy)).not.toThrow();
    expect(() => requireFound(ofAction('add_domain'), 'remote-drives', policy)).toThrow(refusal('remote-drives'));
    expect(() =>
      requireFound(ofAction('add_domain'), 'remote-drives', { ...policy, allowed: without() }),
    ).not.toThrow();
  });

  it('must be declared in the record', () => {
    expect(() => requireFound(ofAction('mkdir'), 'remote-drives', policy)).toThrow('mkdir does not declare');
  });
});
