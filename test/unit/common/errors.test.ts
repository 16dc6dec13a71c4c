import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';

function systemError(code: string, syscall: string, cause?: unknown): Error {
  return Object.assign(new Error(`${code}: it failed, ${syscall}`, { cause }), { code, syscall });
}

describe('an error of the operating system', () => {
  it.each([
    ['EMFILE', 'open', 'LIMIT_EXCEEDED', { limit: 'file-descriptors' }],
    ['ENFILE', 'socket', 'LIMIT_EXCEEDED', { limit: 'file-descriptors' }],
    ['EAGAIN', 'spawn bwrap', 'LIMIT_EXCEEDED', { limit: 'processes' }],
    ['ENOMEM', 'spawn', 'OUT_OF_MEMORY', undefined],
    ['ENOSPC', 'write', 'ENOSPC', undefined],
    ['EDQUOT', 'write', 'EDQUOT', undefined],
  ])('%s of %s has the reason %s, even as the cause of other errors', (code, syscall, reason, metadata) => {
    const plain = systemError(code, syscall);
    const wrapped = new GuestfsError('APPLIANCE_UNUSABLE', 'it cannot be opened', {
      cause: new Error('because', { cause: plain }),
    });
    for (const thrown of [plain, wrapped]) {
      const error = GuestfsError.from(thrown);
      expect(error).toMatchObject({ reason, details: { retryAfterMs: expect.any(Number), cause: thrown } });
      expect(error.details.metadata).toEqual(metadata);
    }
  });

  it('is INTERNAL if it is of another kind, and is not looked for in causes of errors that have their own reason', () => {
    expect(GuestfsError.from(systemError('EAGAIN', 'read')).reason).toBe('INTERNAL');
    expect(GuestfsError.from(systemError('EPIPE', 'write')).reason).toBe('INTERNAL');
    const own = new GuestfsError('IMAGE_LOCKED', 'in use', { cause: systemError('EMFILE', 'open') });
    expect(GuestfsError.from(own)).toBe(own);
    expect(GuestfsError.from('text').reason).toBe('INTERNAL');
  });
});
