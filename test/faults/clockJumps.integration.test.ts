/** The appliance's clock jumps, forward and back: nothing in the server depends on it. */
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage } from '../support/diskImages.js';
import { inGuest } from '../support/launchKinds.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive } from '../support/testClient.js';

describeWithAppliance("an appliance's clock", () => {
  const scene = serverForTests({ flags: ['--debug-service', '--unresponsive-timeout', '4', '--idle-timeout', '60'] });

  it('can jump by decades in both directions, between calls and during one', async () => {
    emptyImage(join(scene.server.images, 'a.img'), 64);
    const session = await launchSession(scene.client, [imageDrive('a.img')]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    for (const [count, date] of ['2100-01-01', '1971-01-01', '2037-12-31'].entries()) {
      await inGuest(session, `date -s ${date}`);
      await session.call('write', { path: `/file${count}`, content: Buffer.from(date) });
      await session.call('sync');
      const [jumped] = await Promise.all([
        inGuest(session, 'sleep 1; date -s 1999-01-01; sleep 1; date +%Y'),
        session.call('ping_daemon'),
      ]);
      expect(jumped).toContain('1999');
      expect(debugfs(join(scene.server.images, 'a.img'), 0, `cat /file${count}`)).toBe(date);
    }
    // The watchdog has asked it several times by then, and the idle timeout is counted by the server.
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const { expire_time: expires } = await scene.client.getSession(session.id);
    expect(Math.abs((expires as Date).getTime() - Date.now() - 55_000)).toBeLessThan(30_000);
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    await scene.client.deleteSession(session.id);
  });
});
