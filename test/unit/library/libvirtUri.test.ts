/** Which libvirt URIs are taken of clients. */
import { describe, expect, it } from '@jest/globals';
import { requireHarmless } from '../../../src/library/domain/libvirtUri.js';
import { makePolicy } from './fakes.js';

const check = (uri: string, ...more: readonly 'custom-qemu'[]): void =>
  requireHarmless(uri, makePolicy(['host-actions', ...more]), 'add_domain');
const harmful = [
  'qemu+ext://host/system?command=/images/evil',
  'qemu+EXT://host/system',
  'qemu+ssh://host/system?command=/images/evil',
  'qemu+ssh://host/system?COMMAND=/images/evil',
  'qemu+ssh://host/system?%63omm%61nd=/images/evil',
  'qemu+ssh://host/system?no_verify=1&command=/images/evil',
  'qemu+ssh://host/system?no_verify=1;command=/images/evil',
  'qemu+ssh://host/system?no_verify=1?&command',
  'qemu://host/system?pkipath=/images',
  'qemu+libssh2://host/system?known_hosts=/etc/cron.d/x',
  'qemu+unix:///system?socket=/run/other',
  'qemu:///embed?root=/images',
];

describe('a libvirt URI of a client', () => {
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
  ])('is taken: %s', (uri) => {
    expect(() => check(uri)).not.toThrow();
  });

  it.each(harmful)('is refused where clients may not run programs: %s', (uri) => {
    expect(() => check(uri)).toThrow(
      expect.objectContaining({ reason: 'NOT_ALLOWED', details: { metadata: { setting: '--allow custom-qemu' } } }),
    );
  });

  it.each(harmful)('is taken where clients may run programs: %s', (uri) => {
    expect(() => check(uri, 'custom-qemu')).not.toThrow();
  });
});
