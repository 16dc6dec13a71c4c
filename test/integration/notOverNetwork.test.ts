/** Actions that are meaningful only in the process, or on the machine, of their caller: refused with an alternative. */
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { serverForTests } from '../support/scene.js';
import { SessionClient } from '../support/testClient.js';

describe('what does not work over a network', () => {
  const scene = serverForTests({ flags: ['--allow', 'host-actions'] });
  let session: SessionClient;
  beforeAll(async () => {
    session = new SessionClient(scene.client, (await scene.client.createSession()).id);
  });

  it.each<[string, object, readonly string[]]>([
    ['mount_local', { localmountpoint: '/mnt' }, ['TarOut', 'TarIn']],
    ['mount_local_run', {}, ['TarOut', 'TarIn']],
    ['umount_local', {}, ['TarOut', 'TarIn']],
    ['c_pointer', {}, ['name the session by its ID']],
  ])('is UNIMPLEMENTED, with the alternative: %s', async (action, request, instead) => {
    const failure = await session.failure(action, request);
    expect(failure).toMatchObject({
      code: status.UNIMPLEMENTED,
      info: { domain: 'guestfs', reason: 'NOT_OVER_NETWORK', metadata: { action } },
    });
    expect(failure.details).toMatch(new RegExp(`^${action} does not work over a network: .+\\. Instead, .+`));
    for (const word of instead) expect(failure.details).toContain(word);
  });
});
