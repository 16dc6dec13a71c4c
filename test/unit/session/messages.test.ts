/** Events about the appliance: warnings for all subscribers, details only in verbose sessions. */
import { expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { failureOf } from '../../fakes/connected.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { drive, launched, listen, never, testSession } from '../../fakes/sessions.js';

async function launchEvents(verbose: boolean): Promise<string[]> {
  const { session, launcher } = testSession({ verbose });
  const { events, done } = listen(session, ['library', 'warning']);
  session.addDrive(drive, 'add_drive');
  const up = session.launch(never);
  const request = await launcher.request();
  request.options.onMessage?.('library', 'launch: qemu');
  request.options.onMessage?.('warning', 'no KVM');
  const machine = new FakeMachine('1.54.1');
  request.succeed(machine);
  await machine.daemon.launch();
  await up;
  await session.kill();
  await session.close();
  await done;
  return events;
}

it('has all steps of the launch in a verbose session', async () => {
  expect(await launchEvents(true)).toEqual([
    'library launch: program=',
    'library launch: qemu',
    'warning no KVM',
    expect.stringMatching(/^library launch: daemon 1\.54\.1 is up after \d+ ms$/),
  ]);
});

it('has only warnings otherwise', async () => {
  expect(await launchEvents(false)).toEqual(['warning no KVM']);
});

it('always reports that the appliance ended', async () => {
  const { session, machine } = await launched();
  const warnings = session.events.subscribe(['warning'])[Symbol.asyncIterator]();
  machine.die();
  expect((await warnings.next()).value).toMatchObject({
    event: { kind: 'warning', message: expect.stringMatching(/^the appliance ended unexpectedly/) },
  });
  await session.close();
  expect(await warnings.next()).toMatchObject({ done: true });
});

it('reports only the failure of a failed launch', async () => {
  const { session, launcher } = testSession({ verbose: true });
  const { events, done } = listen(session, ['library', 'warning', 'subprocess_quit']);
  session.addDrive(drive, 'add_drive');
  const up = failureOf(session.launch(never));
  (await launcher.request()).fail(new GuestfsError('QEMU_MISSING', 'no qemu'));
  expect(await up).toMatchObject({ reason: 'QEMU_MISSING' });
  await session.close();
  await done;
  expect(events).toEqual(['library launch: program=', 'subprocess_quit']);
});
