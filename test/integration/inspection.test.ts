/** Inspection: the results for images with systems of many kinds, each created from scratch. */
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { alpine } from '../support/guests/alpine.js';
import { arch } from '../support/guests/arch.js';
import { coreos } from '../support/guests/coreos.js';
import { debian } from '../support/guests/debian.js';
import { fedoraBtrfs, fedoraLvm } from '../support/guests/fedora.js';
import { makeGuest, type ExpectedSystem, type Guest } from '../support/guests/guest.js';
import { twoSystems } from '../support/guests/twoSystems.js';
import { ubuntu } from '../support/guests/ubuntu.js';
import { windows } from '../support/guests/windows.js';
import { observeSystem, reportedApplications, reportedSystems } from '../support/guests/observed.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive } from '../support/testClient.js';

const guests: readonly Guest[] = [debian, ubuntu, arch, alpine, coreos, fedoraLvm, fedoraBtrfs, windows, twoSystems];

const named = (list: readonly Guest[]) => list.map((guest) => [guest.name, guest] as const);
const hasNone = ({ applications }: ExpectedSystem): boolean => applications.length === 0;
const byRoot = (systems: readonly ExpectedSystem[]): ExpectedSystem[] =>
  [...systems].sort((one, other) => (one.root < other.root ? -1 : 1));

describeWithAppliance('inspection', () => {
  const scene = serverForTests();
  const images = new Map<Guest, string>();

  const imageOf = async (guest: Guest): Promise<string> => {
    const image = images.get(guest) ?? (await makeGuest(scene.client, scene.server.images, guest));
    images.set(guest, image);
    return image;
  };

  it.each(named(guests))('reports the facts about %s', async (_name, guest) => {
    const report = await scene.client.inspect({
      drives: [
        {
          source: { $case: 'path', value: await imageOf(guest) },
          format: 'raw',
          blocksize: undefined,
          backing_formats: [],
        },
      ],
    });
    // Some facts were added in daemons newer than this one; an empty list of applications is never silent.
    const expected = ['ACTION_NOT_IN_DAEMON', ...(guest.systems.some(hasNone) ? ['NO_APPLICATIONS'] : [])];
    expect(report.flatMap(({ warnings }) => warnings).filter(({ reason }) => !expected.includes(reason))).toEqual([]);
    expect(byRoot(reportedSystems(report))).toEqual(byRoot(guest.systems));
    const applications = reportedApplications(report);
    for (const [name, details] of Object.entries(guest.applicationDetails ?? {})) {
      expect(applications.find((one) => one.app2_name === name)).toMatchObject(details);
    }
    expect(scene.server.machines()).toEqual([]);
  });

  // The report asks the same actions: those of one system of each family show that clients can, too.
  it.each(named([debian, windows]))('answers action by action about %s', async (_name, guest) => {
    const session = await launchSession(scene.client, [imageDrive(await imageOf(guest), { writable: false })]);
    const roots: readonly string[] = await session.call('inspect_os');
    expect([...roots].sort()).toEqual(guest.systems.map(({ root }) => root).sort());
    expect(await session.call('inspect_get_roots')).toEqual(roots);
    for (const system of guest.systems) expect(await observeSystem(session, system.root)).toEqual(system);
    // What libguestfs no longer finds out has an answer that never changes.
    for (const root of roots) {
      expect(await session.call('inspect_get_format', { root })).toBe('installed');
      for (const kind of ['live', 'multipart', 'netinst'])
        expect(await session.call(`inspect_is_${kind}`, { root })).toBe(false);
    }
    if (guest !== windows) {
      for (const what of ['systemroot', 'current_control_set', 'software_hive', 'system_hive']) {
        const action = `inspect_get_windows_${what}`;
        expect(await session.failure(action, { root: roots[0] })).toMatchObject({
          code: status.UNKNOWN,
          details: expect.stringContaining('not a Windows guest'),
          info: { reason: 'DAEMON_ERROR', metadata: { action } },
        });
      }
      // The list of packages is replaced by an endless file; the drive is read-only, so its image does not change.
      await session.call('mount', { mountable: roots[0], mountpoint: '/' });
      await session.call('mkdir_p', { path: '/var/lib/dpkg' });
      await session.call('mknod_c', { mode: 0o644, devmajor: 1, devminor: 5, path: '/var/lib/dpkg/status' });
      expect(await session.failure('inspect_list_applications2', { root: roots[0] })).toMatchObject({
        details: expect.stringContaining('/var/lib/dpkg/status is not a regular file'),
      });
    }
    await scene.client.deleteSession(session.id);
  });
});
