import { describe, expect, it } from '@jest/globals';
import { needsHostNetwork } from '../../../src/launcher/hostNetwork.js';

describe('a machine has the network of the host', () => {
  it.each([
    ['with a network among its qemu arguments', { extraQemuArguments: [['-netdev', 'user,id=n']] }, true],
    ['with other qemu arguments: no', { extraQemuArguments: [['-smbios', 'type=2']] }, false],
    ['without any: no', {}, false],
  ] as const)('%s', (_what, use, expected) => {
    expect(needsHostNetwork(use)).toBe(expected);
  });
});
