import { expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import { createGroundwork } from '../../../src/launcher/groundwork.js';
import { createQemuUsers } from '../../../src/qemu/qemuUsers.js';
import type { OpenImage } from '../../../src/security/pathPolicy.js';

it("measures images by the server's own qemu, which need not be on the PATH", async () => {
  const { imageProbe } = createGroundwork({ logger: silentLogger, users: createQemuUsers(), qemuBinary: '/nosuch/qemu' });
  await expect(imageProbe({} as OpenImage, 'vdi', 'it', new AbortController().signal)).rejects.toMatchObject({ reason: 'QEMU_MISSING', message: expect.stringContaining('/nosuch/qemu') });
});
