import { describe, expect, it } from '@jest/globals';
import { status, type Metadata } from '@grpc/grpc-js';
import { GuestfsError } from '../../../src/common/errors.js';
import { createLogger, silentLogger } from '../../../src/common/logger.js';
import { shorten, statusOf, toStatus } from '../../../src/server/statusMapping.js';
import { errorInfoOf } from '../../../clients/typescript/src/index.js';

/** Bytes that the status takes in the trailers: text percent-encoded, details in base64. */
function trailerSize({ details, metadata }: { details: string; metadata: Metadata }): number {
  const [bytes] = metadata.get('grpc-status-details-bin');
  return encodeURI(details).length + (bytes as Buffer).toString('base64').length;
}

describe('statusOf', () => {
  it.each([
    ['ENOENT', status.NOT_FOUND],
    ['EEXIST', status.ALREADY_EXISTS],
    ['EINVAL', status.INVALID_ARGUMENT],
    ['EPERM', status.PERMISSION_DENIED],
    ['EACCES', status.PERMISSION_DENIED],
    ['ENOSPC', status.RESOURCE_EXHAUSTED],
    ['EDQUOT', status.RESOURCE_EXHAUSTED],
    ['EMFILE', status.RESOURCE_EXHAUSTED],
    ['ENOTSUP', status.UNIMPLEMENTED],
    ['EOPNOTSUPP', status.UNIMPLEMENTED],
    ['EINTR', status.CANCELLED],
    ['ENOTEMPTY', status.FAILED_PRECONDITION],
    ['EBUSY', status.FAILED_PRECONDITION],
    ['EROFS', status.FAILED_PRECONDITION],
    ['DAEMON_ERROR', status.UNKNOWN],
    ['EWHATEVER', status.UNKNOWN],
    ['APPLIANCE_GONE', status.UNAVAILABLE],
    ['OUTCOME_UNKNOWN', status.ABORTED],
    ['WRONG_STATE', status.FAILED_PRECONDITION],
    ['SESSION_MISSING', status.INVALID_ARGUMENT],
    ['SESSION_UNKNOWN', status.NOT_FOUND],
    ['NOT_ALLOWED', status.PERMISSION_DENIED],
    ['ACTION_NOT_IN_DAEMON', status.UNIMPLEMENTED],
  ])('maps %s', (reason, expected) => {
    expect(statusOf(reason)).toBe(expected);
  });

  it('does not mistake a property of all objects for a reason', () => {
    expect(statusOf('constructor')).toBe(status.UNKNOWN);
  });
});

describe('toStatus', () => {
  it('has reason, action and state in ErrorInfo', () => {
    const sent = toStatus(
      new GuestfsError('ENOENT', 'open: /x: No such file or directory'),
      { action: 'cat', state: 'READY' },
      silentLogger,
    );
    expect(sent.code).toBe(status.NOT_FOUND);
    expect(sent.details).toBe('open: /x: No such file or directory');
    expect(errorInfoOf(sent.metadata)).toEqual({
      reason: 'ENOENT',
      domain: 'guestfs',
      metadata: { action: 'cat', state: 'READY' },
      fields: [],
      retryAfterMs: undefined,
    });
  });

  it('has the invalid fields in BadRequest and the delay in RetryInfo', () => {
    const error = new GuestfsError('BAD_ARGUMENT', 'smp: too many', {
      fields: [{ field: 'smp', description: 'too many' }],
      retryAfterMs: 1500,
    });
    expect(errorInfoOf(toStatus(error, {}, silentLogger).metadata)).toMatchObject({
      fields: ['smp'],
      retryAfterMs: 1500,
    });
  });

  it.each([
    ['ASCII', 'x'],
    ['wide characters', '日本語 '],
    ['lone surrogates', '\ud800x'],
    ['percent signs', '%'],
  ])('keeps text and details of any length under 4 KiB: %s', (_what, piece) => {
    const huge = piece.repeat(70_000);
    const error = new GuestfsError('DAEMON_ERROR', huge, {
      metadata: { a: huge, b: huge },
      fields: Array.from({ length: 50 }, (_, index) => ({ field: `${huge}${index}`, description: huge })),
    });
    const sent = toStatus(error, { action: 'sh', state: 'READY' }, silentLogger);
    expect(trailerSize(sent)).toBeLessThan(4096);
    expect(errorInfoOf(sent.metadata)).toMatchObject({
      reason: 'DAEMON_ERROR',
      metadata: { action: 'sh', state: 'READY' },
    });
  });

  it('is ABORTED for a call whose outcome is unknown, whatever the reason', () => {
    const error = new GuestfsError('KERNEL_PANIC', 'the kernel panicked', { outcomeUnknown: true });
    const sent = toStatus(error, {}, silentLogger);
    expect(sent.code).toBe(status.ABORTED);
    expect(errorInfoOf(sent.metadata)).toMatchObject({ reason: 'KERNEL_PANIC' });
    expect(toStatus(new GuestfsError('KERNEL_PANIC', 'in a launch'), {}, silentLogger).code).toBe(status.INTERNAL);
  });

  it('keeps the start and the end of a long text', () => {
    const cut = shorten(`begins here ${'x'.repeat(5000)} ends here`, 300);
    expect(cut.startsWith('begins here')).toBe(true);
    expect(cut.endsWith('ends here')).toBe(true);
    expect(encodeURI(cut).length).toBeLessThanOrEqual(300);
  });

  it('has no control characters but those between lines, whoever has chosen its words', () => {
    const words = 'one\ntwo\t\u001b[2J\u009b31m\r\u0000';
    const shown = 'one\ntwo\t\\x1b[2J\\x9b31m\\x0d\\x00';
    const error = new GuestfsError('DAEMON_ERROR', words, {
      metadata: { why: words },
      fields: [{ field: 'path', description: words }],
    });
    const sent = toStatus(error, { hide: (text) => text.replace('one', '\u001bone') }, silentLogger);
    expect(sent.details).toBe(`\\x1b${shown}`);
    expect(errorInfoOf(sent.metadata)?.metadata).toMatchObject({ why: `\\x1b${shown}` });
    const [details] = sent.metadata.get('grpc-status-details-bin');
    expect((details as Buffer).toString('latin1')).not.toContain('\u001b[');
  });

  it('hides a defect of the server from the client and logs it', () => {
    const lines: string[] = [];
    const sent = toStatus(
      new TypeError('secret path /root/x'),
      { action: 'cat' },
      createLogger('info', (line) => lines.push(line)),
    );
    expect(sent.code).toBe(status.INTERNAL);
    expect(sent.details).not.toContain('secret');
    expect(lines.join('')).toContain('secret path /root/x');
  });
});
