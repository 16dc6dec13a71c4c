import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ImageClaims, ImageUses } from '../../../src/images/imageUses.js';
import { prepareDrives, type DriveContext } from '../../../src/images/prepareDrives.js';
import { makeScene, nbdDrive, type Scene } from './scene.js';

const SIZE = 3 << 20;
const NODES = `{"return": [{"node-name": "image", "image": {"virtual-size": ${SIZE}}}]}`;

let scene: Scene;
beforeEach(() => {
  scene = makeScene();
});
afterEach(() => scene.remove());

/** For drives of a machine whose qemu is a shell script. */
function contextWith(script: string): DriveContext {
  const qemuBinary = join(scene.base, 'qemu');
  writeFileSync(qemuBinary, `#!/bin/sh\n${script}\n`);
  chmodSync(qemuBinary, 0o755);
  return {
    runDirectory: scene.run,
    qemuBinary,
    signal: new AbortController().signal,
    fdSets: { add: () => '/dev/fdset/1' },
    claims: new ImageClaims(new ImageUses()),
  };
}

/** The maximum number that ran at once, according to a log of starts and ends. */
function mostAtOnce(log: string): number {
  let running = 0;
  let most = 0;
  for (const mark of readFileSync(log, 'utf8').trim().split('\n')) {
    running += mark === '+' ? 1 : -1;
    most = Math.max(most, running);
  }
  return most;
}

describe('the server of a remote drive', () => {
  it("is probed by the machine's qemu, which need not be the one on the PATH", async () => {
    const seen = join(scene.run, 'seen');
    const prepared = await prepareDrives(
      [nbdDrive('127.0.0.1:1', { readonly: false })],
      contextWith(`cat > seen; echo '${NODES}'`),
    );
    await prepared.dispose();
    expect(readFileSync(seen, 'utf8')).toContain('"driver":"nbd"');
  });

  it('is probed while at most seven others are, whatever the number of drives and machines', async () => {
    const log = join(scene.run, 'log');
    // None of them ends before eight have started, or have had enough time to.
    const others = `n=0; while [ $(grep -c + log) -lt 8 ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done`;
    const context = contextWith(`echo + >> log; ${others}; sleep 0.2; echo - >> log; echo '${NODES}'`);
    const drives = Array.from({ length: 10 }, () => nbdDrive('127.0.0.1:1', { readonly: false }));
    const machines = await Promise.all([
      prepareDrives(drives, context),
      prepareDrives(drives, { ...context, firstIndex: 10 }),
    ]);
    await Promise.all(machines.map((machine) => machine.dispose()));
    expect(mostAtOnce(log)).toBe(8);
  });
});
