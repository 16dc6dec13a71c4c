import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { runIsolatedQemu, type IsolatedResult } from '../../../src/images/isolatedQemu.js';
import { createUnnamedFile } from '../../../src/images/temporaryDisk.js';
import { makeScene, type Scene } from './scene.js';

let scene: Scene;
beforeEach(() => {
  scene = makeScene();
});
afterEach(() => scene.remove());

/** Runs a shell script in place of qemu. */
async function run(script: string, length?: number): Promise<IsolatedResult> {
  const qemuBinary = join(scene.base, 'qemu');
  writeFileSync(qemuBinary, `#!/bin/sh\n${script}\n`);
  chmodSync(qemuBinary, 0o755);
  const file = await createUnnamedFile(scene.run, 'printed');
  try {
    return await runIsolatedQemu(
      { qemuBinary, user: undefined },
      {
        args: [],
        commands: [],
        fds: [],
        memoryBytes: 1 << 30,
        wallClockMs: 20_000,
        signal: new AbortController().signal,
        ...(length === undefined ? {} : { head: { length, file } }),
      },
    );
  } finally {
    await file.close();
  }
}

const NODES = '{"return": [{"node-name": "image", "image": {"virtual-size": 512}}]}';
const ROW = '00000000:  51 46 49 fb  QFI.';

describe('an isolated qemu', () => {
  it('returns the first bytes of an image with its size', async () => {
    expect(await run(`echo '{"return": {}}'; echo '${ROW}'; echo '${NODES}'`, 4)).toMatchObject({
      size: 512n,
      head: Buffer.from('QFI\xfb', 'latin1'),
    });
  });

  it('is asked for them before it is asked to quit, and only if they are requested', async () => {
    const repeat = "tr '\\n' ' ' >&2";
    expect((await run(repeat, 4096)).lastMessage).toMatch(/qemu-io image \\"read -v 0 4096\\".*"quit"/);
    const without = await run(`${repeat}; echo '${ROW}'; echo '${NODES}'`);
    expect(without).toMatchObject({ size: 512n, head: undefined });
    expect(without.lastMessage).not.toContain('qemu-io');
  });

  it('prints to a file, up to a limit', async () => {
    const isFile = `exec 4>&1; case "$(stat -c %F - <&4)" in regular*) true;; *) false;; esac`;
    expect(await run(`${isFile} && echo '${ROW}'; echo '${NODES}'`, 4)).toMatchObject({
      size: 512n,
      head: Buffer.from('QFI\xfb', 'latin1'),
    });
    expect(await run(`yes '${ROW}' | head -c 1048576; echo '${NODES}'`, 1 << 16)).toMatchObject({
      size: 512n,
      head: undefined,
    });
    expect(await run(`yes '${ROW}' | head -c 1600000; echo '${NODES}'`, 1 << 16)).toMatchObject({
      size: undefined,
      head: undefined,
    });
  });
});
