import { describe, expect, it } from '@jest/globals';

import { withoutSignature } from '../../appliance-builder/moduleSignature.js';

/** A module as signed by the kernel's sign-file. */
function signed(module: Buffer, signature: Buffer, statedLength = signature.length): Buffer {
  const trailer = Buffer.alloc(12);
  trailer.writeUInt8(2, 2);
  trailer.writeUInt32BE(statedLength, 8);
  return Buffer.concat([module, signature, trailer, Buffer.from('~Module signature appended~\n')]);
}

describe('withoutSignature', () => {
  const module = Buffer.from('\x7fELF and so on');

  it('restores the module as it was before signing', () => {
    expect(withoutSignature(signed(module, Buffer.alloc(300, 1))).equals(module)).toBe(true);
  });

  it('leaves an unsigned module unchanged, however short', () => {
    expect(withoutSignature(module)).toBe(module);
    expect(withoutSignature(Buffer.alloc(0))).toHaveLength(0);
  });

  it('does not truncate a module because of a wrong length', () => {
    expect(() => withoutSignature(signed(module, Buffer.alloc(4), 5000))).toThrow(/more bytes than it has/);
  });
});
