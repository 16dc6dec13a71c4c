import { describe, expect, it } from '@jest/globals';
import type { Drive } from '../../../src/images/drive.js';
import type { RemoteServer } from '../../../src/images/remoteSource.js';
import { needsHostNetwork } from '../../../src/launcher/hostNetwork.js';

const roots = { directories: [] };
const drive = (source: Drive['source']): Drive => ({
  ...{ source, format: 'raw', readonly: true, label: undefined, cacheMode: 'writeback', discard: 'disable' },
  ...{ copyOnRead: false, blockSize: undefined },
});
const remote = (servers: RemoteServer[]): Drive =>
  drive({
    kind: 'remote',
    remote: { protocol: 'nbd', servers, name: '', username: undefined, secret: undefined },
    roots,
  });

describe('a machine has the network of the host', () => {
  const tcp = remote([{ transport: 'tcp', host: 'host', port: 1 }]);
  const unix = remote([{ transport: 'unix', path: '/socket' }]);
  const file = drive({ kind: 'file', path: '/image', name: 'image', roots });

  it.each([
    ['a server with network drives', {}, { remoteDrives: true }, true],
    ['a drive over TCP', { drives: [file, tcp] }, {}, true],
    ['a cluster that configuration files name', { drives: [remote([])] }, {}, true],
    ['a network among qemu arguments', { extraQemuArguments: [['-netdev', 'user,id=n']] }, {}, true],
    ['a drive of a socket', { drives: [file, unix] }, {}, false],
    ['nothing of these', { extraQemuArguments: [['-smbios', 'type=2']] }, {}, false],
  ] as const)('for %s: %#', (_what, use, policy, expected) => {
    expect(needsHostNetwork(use, policy)).toBe(expected);
  });
});
