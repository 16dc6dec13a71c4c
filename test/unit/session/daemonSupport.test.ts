/** Actions and arguments for which a daemon is too old. */
import { describe, expect, it } from '@jest/globals';
import { DaemonVersion } from '../../../src/protocol/daemonVersion.js';
import { requireInDaemon } from '../../../src/session/daemonSupport.js';
import { action } from '../../fakes/sessions.js';

const check = (name: string, request: object, version: string) => (): void =>
  requireInDaemon(action(name), request, new DaemonVersion(version));

describe('a daemon', () => {
  it.each([
    ['findfs_partuuid', { uuid: 'x' }, '1.48.6', '1.53.5', 'findfs_partuuid'],
    ['xfs_info2', { pathordevice: '/' }, '1.59.1', '1.59.2', 'xfs_info2'],
    ['command_out', { arguments: ['ls'] }, '1.54.1', '1.55.6', 'command_out'],
    ['e2fsck', { forceno: false }, '1.54.1', '1.55.13', 'e2fsck with forceno'],
    ['tar_in', { keepdirlink: true }, '1.54.1', '1.59.1', 'tar_in with keepdirlink'],
    ['cryptsetup_open', { cipher: '' }, '1.48.6', '1.53.3', 'cryptsetup_open with cipher'],
    ['setfiles', { excludes: { values: ['/srv'] } }, '1.60.1', '1.61.1', 'setfiles with excludes'],
  ])('lacks %s with %p before its version', (name, request, version, since, what) => {
    expect(check(name, request, version)).toThrow(
      expect.objectContaining({
        reason: 'ACTION_NOT_IN_DAEMON',
        message: `${what} came with libguestfs ${since}; the daemon in this appliance is ${version}. Use an appliance with a newer daemon`,
        details: { metadata: { since, daemon_version: version } },
      }),
    );
    expect(check(name, request, since)).not.toThrow();
  });

  it('ignores arguments that are not set', () => {
    expect(check('e2fsck', { correct: true, forceno: undefined }, '1.54.1')).not.toThrow();
  });
});
