/** Appliances that end, or lack memory, while they run: the call in progress says why. */
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, type SessionClient } from '../support/testClient.js';
import { logged } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
/** Little, so that it is soon used up. */
const MEMORY_MB = 320;

describeWithAppliance('an appliance that runs', () => {
  const scene = serverForTests({ flags: ['--launch', 'cold', '--debug-service'] });
  const inGuest = (session: SessionClient, script: string) =>
    session.failure('debug', { subcmd: 'sh', extraargs: [script] });

  it('and whose kernel panics ends its call with KERNEL_PANIC', async () => {
    const session = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
    const { event } = await scene.client.subscribe(session.id);
    const waiting = event(({ type }) => type === EventType.STARTED).then(() => session.failure('list_devices'));
    expect(await inGuest(session, 'sleep 0.2; echo c > /proc/sysrq-trigger')).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'KERNEL_PANIC' },
      details: expect.stringMatching(/the appliance's kernel panicked \(.*sysrq.*\).*whether the call had an effect/),
    });
    // It was never sent, and can be repeated elsewhere.
    expect(await waiting).toMatchObject({ code: status.UNAVAILABLE, info: { reason: 'APPLIANCE_GONE' } });
    const warning = await event(({ type }) => type === EventType.WARNING);
    expect(warning.detail).toEqual({ $case: 'message', value: expect.stringContaining('kernel panicked') });
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect((await scene.client.getSession(session.id)).state).toBe(SessionState.CONFIG);
    expect(logged(scene.server, 'appliance ended unexpectedly')).toEqual([
      expect.objectContaining({ session: session.id, cause: 'KERNEL_PANIC' }),
    ]);
    await scene.client.deleteSession(session.id);
  });

  it('and has too little memory says so: for a program that is killed, and for its own end', async () => {
    const session = await launchSession(scene.client, [scratchDrive(MEBIBYTE)], { memsize: MEMORY_MB });
    expect(await inGuest(session, 'tail /dev/zero')).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: { reason: 'OUT_OF_MEMORY' },
      details: expect.stringContaining("killed 'tail': give the session a larger memsize"),
    });
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    expect(
      await inGuest(session, 'mount -t tmpfs -o size=100% tmpfs /mnt && cat /dev/zero > /mnt/zeros'),
    ).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'OUT_OF_MEMORY', metadata: expect.objectContaining({ memsize: String(MEMORY_MB) }) },
      details: expect.stringContaining(`run out of its memory of ${MEMORY_MB} MiB`),
    });
    await scene.client.deleteSession(session.id);
  });
});
