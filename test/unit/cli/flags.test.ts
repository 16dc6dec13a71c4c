import { describe, expect, it } from '@jest/globals';
import { FLAGS, parseFlags, usage, UsageError } from '../../../src/cli/flags.js';

describe('flags', () => {
  it('come from the command line, in both spellings, and more than once where that makes sense', () => {
    expect(parseFlags(['--listen=0.0.0.0:1', '--image-root', 'a', '--image-root', 'b', '--trace'], {})).toMatchObject({
      listen: '0.0.0.0:1',
      'image-root': ['a', 'b'],
      trace: true,
    });
  });

  it('come from the environment where the command line is silent', () => {
    const environment = {
      GUESTFS_GRPC_LISTEN: 'h:1',
      GUESTFS_GRPC_ALLOW: 'network,host-actions',
      GUESTFS_GRPC_DEBUG_SERVICE: '1',
    };
    expect(parseFlags(['--listen', 'h:2'], environment)).toMatchObject({
      listen: 'h:2',
      allow: ['network', 'host-actions'],
      'debug-service': true,
    });
  });

  it.each([[['--nonsense']], [['stray']], [['--listen']], [['--trace=x']]])('refuse %j', (args) => {
    expect(() => parseFlags(args, {})).toThrow(UsageError);
  });

  it('refuse a variable that is neither true nor false', () => {
    expect(() => parseFlags([], { GUESTFS_GRPC_TRACE: 'perhaps' })).toThrow(/GUESTFS_GRPC_TRACE/);
  });

  it('that are questions are none in the environment', () => {
    expect(parseFlags([], { GUESTFS_GRPC_VERSION: '1', GUESTFS_GRPC_HELP: '1' })).toEqual({});
  });

  it('are all in the help', () => {
    for (const { name } of FLAGS) expect(usage()).toContain(`--${name}`);
  });
});
