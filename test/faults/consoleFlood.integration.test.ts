/** A console that prints 1 GiB. The serial port of an emulated machine would take an hour; here a qemu prints it itself. */
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { residentMemory, resetPeakMemory } from '../support/processes.js';
import { wrapQemu } from '../support/qemuWrapper.js';
import { serverForTests } from '../support/scene.js';
import { scratchDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const GIBIBYTE = 1 << 30;
/** Several times what the log of a session takes; a thousandth of the flood would be more. */
const MOST_MEMORY = 100 * MEBIBYTE;

describeWithAppliance('a console', () => {
  const scene = serverForTests({ flags: ['--launch', 'cold', '--allow', 'custom-qemu'] });

  it('that prints 1 GiB takes bounded memory and stops nobody: its end is kept', async () => {
    const { server, client } = scene;
    const pid = server.process.pid as number;
    const flood = `head -c ${GIBIBYTE} /dev/zero >&5; echo "the flood is over" >&5`;
    const wrapper = await wrapQemu(join(server.images, 'flooding-qemu'), flood);
    const session = new SessionClient(client, (await client.createSession({ drives: [scratchDrive(MEBIBYTE)] })).id);
    await session.call('set_hv', { hv: wrapper });
    // A subscriber that reads nothing.
    const subscription = await client.sessionAt(session.id).events([]);
    resetPeakMemory(pid);
    const before = residentMemory(pid).now;
    const launched = session.call('launch');
    let over = false;
    void launched.finally(() => (over = true));
    let slowest = 0;
    while (!over) {
      const asked = performance.now();
      await client.getSession(session.id);
      slowest = Math.max(slowest, performance.now() - asked);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await launched;
    expect(slowest).toBeLessThan(5000);
    expect(residentMemory(pid).peak - before).toBeLessThan(MOST_MEMORY);
    const log = await client.getLog(session.id);
    expect(Buffer.byteLength(log)).toBeLessThan(4 * MEBIBYTE);
    expect(log).toContain('the flood is over');
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    subscription.cancel();
    await client.deleteSession(session.id);
  });
});
