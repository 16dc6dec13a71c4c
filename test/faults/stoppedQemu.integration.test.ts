/** A qemu that is stopped (SIGSTOP) in each state of a session; liveness.test.ts stops one during a call and in a drain. */
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { launchSession, settings } from '../support/scene.js';
import { qemuOf } from '../support/sessionQemu.js';
import { failureOf, imageDrive, scratchDrive, TestClient } from '../support/testClient.js';
import { CLEAN_END, logged, startTestServer } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
/** --unresponsive-timeout; silence is noticed within this time. */
const LIMIT_S = 6;
/** ... on a host that is not busy. */
const MOST_S = 5 * LIMIT_S;
/** A kill takes little more than a second there. */
const PROMPT_S = 10;

/** How long work takes, seconds. */
async function seconds(work: Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work;
  return (performance.now() - started) / 1000;
}

describeWithAppliance('a qemu that is stopped', () => {
  it('in LAUNCHING: the launch ends with its time limit, or at once when it is killed', async () => {
    const server = await startTestServer({ flags: ['--launch', 'cold'] });
    const client = new TestClient(server.address);
    const limited = { ...settings(), launch_timeout: { seconds: 5n, nanos: 0 } };
    const late = failureOf(
      client.createSession({ session_id: 'late', drives: [scratchDrive(MEBIBYTE)], launch: true, settings: limited }),
    );
    process.kill(await qemuOf(server, 'late'), 'SIGSTOP');
    expect(await late).toMatchObject({ code: status.DEADLINE_EXCEEDED, info: { reason: 'LAUNCH_TIMEOUT' } });
    await eventually(() => server.machines().length === 0);

    const killed = failureOf(
      client.createSession({ session_id: 'killed', drives: [scratchDrive(MEBIBYTE)], launch: true }),
    );
    process.kill(await qemuOf(server, 'killed'), 'SIGSTOP');
    expect(await seconds(client.sessionAt('killed').endByForce())).toBeLessThan(PROMPT_S);
    expect((await killed).info?.reason).toBe('LAUNCH_FAILED');
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it('in READY and in STOPPING: idle, killed, and deleted', async () => {
    const server = await startTestServer({ flags: ['--unresponsive-timeout', String(LIMIT_S)] });
    const client = new TestClient(server.address);
    emptyImage(join(server.images, 'a.img'), 8);

    // Idle: nobody calls it.
    const idle = await launchSession(client, [imageDrive('a.img')]);
    const { event } = await client.subscribe(idle.id);
    process.kill(await qemuOf(server, idle.id), 'SIGSTOP');
    const noticed = event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect(await seconds(noticed)).toBeLessThan(MOST_S);
    expect((await client.getSession(idle.id)).state).toBe(SessionState.CONFIG);
    await client.deleteSession(idle.id);

    // Idle, and killed at once.
    const killed = await launchSession(client, [imageDrive('a.img')]);
    process.kill(await qemuOf(server, killed.id), 'SIGSTOP');
    expect(await seconds(killed.call('kill_subprocess'))).toBeLessThan(PROMPT_S);
    expect((await client.getSession(killed.id)).state).toBe(SessionState.CONFIG);
    await client.deleteSession(killed.id);

    // While it is deleted: it cannot be synced.
    const deleted = await launchSession(client, [imageDrive('a.img')]);
    process.kill(await qemuOf(server, deleted.id), 'SIGSTOP');
    const started = performance.now();
    expect(await failureOf(client.deleteSession(deleted.id))).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'UNRESPONSIVE' },
    });
    expect((performance.now() - started) / 1000).toBeLessThan(MOST_S);
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });

  it('in the pool: a session gets another one, in time', async () => {
    const server = await startTestServer({ flags: ['--pool', '1'] });
    const client = new TestClient(server.address);
    const [waiting] = server.machines().filter(({ name }) => name.startsWith('qemu'));
    process.kill(waiting?.pid ?? 0, 'SIGSTOP');
    // A clone that is resumed has a minute.
    expect(await seconds(launchSession(client, [scratchDrive(MEBIBYTE)]))).toBeLessThan(30);
    expect(logged(server, 'a clone in the pool does not answer')).toEqual([
      expect.objectContaining({ pid: waiting?.pid }),
    ]);
    expect(logged(server, 'restoring a clone failed: falling back to a cold boot')).toEqual([]);
    client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
  });
});
