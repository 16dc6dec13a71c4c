import { mkdtemp, open, readdir, readlink, rm, type FileHandle } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { restoreState, saveState } from '../../../../src/launcher/template/migration.js';
import { QmpClient } from '../../../../src/qemu/qmpClient.js';
import { eventually } from '../../../support/eventually.js';
import { NEGOTIATION, scriptedMonitor, type Exchange, type ScriptedMonitor } from '../../qemu/scriptedMonitor.js';

const never = new AbortController().signal;
const CAPABILITIES: Exchange = {
  expect: 'migrate-set-capabilities',
  arguments: {
    capabilities: [
      { capability: 'x-ignore-shared', state: true },
      { capability: 'events', state: true },
    ],
  },
  say: ['{"return": {}, "id": $id}'],
};
const event = (status: string): string => `{"event": "MIGRATION", "data": {"status": "${status}"}}`;
const MIGRATE: Exchange = {
  expect: 'migrate',
  arguments: { uri: 'unix:state' },
  say: ['{"return": {}, "id": $id}'],
};

let scene: string;
let directory: FileHandle;
let latest: ScriptedMonitor | undefined;
beforeEach(async () => {
  scene = await mkdtemp(join(tmpdir(), 'migration-'));
  directory = await open(scene, 'r');
});
afterEach(async () => {
  await directory.close();
  await rm(scene, { recursive: true });
});

async function talk(script: readonly Exchange[]): Promise<{ script: ScriptedMonitor; monitor: QmpClient }> {
  const scripted = scriptedMonitor([NEGOTIATION, ...script]);
  latest = scripted;
  return { script: scripted, monitor: await QmpClient.connect(scripted.stream, never) };
}

/** What qemu does when instructed to migrate. */
async function qemuWrites(parts: readonly Buffer[]): Promise<Socket> {
  await eventually(() => latest?.remaining() === 0);
  const socket = connect(join(scene, 'state'));
  socket.on('error', () => undefined);
  for (const part of parts) socket.write(part);
  return socket;
}

describe('saving a state', () => {
  it('returns what qemu writes, up to its end', async () => {
    const { script, monitor } = await talk([CAPABILITIES, MIGRATE]);
    const saving = saveState({ monitor, signal: never }, directory);
    (await qemuWrites([Buffer.from('one'), Buffer.alloc(100_000, 2), Buffer.from('three')])).end();
    script.say(`${event('active')}\n${event('completed')}\n`);
    expect(
      (await saving).equals(Buffer.concat([Buffer.from('one'), Buffer.alloc(100_000, 2), Buffer.from('three')])),
    ).toBe(true);
    expect([script.remaining(), script.surprises]).toEqual([0, []]);
  });

  it('waits for the bytes, which may arrive after qemu has reported completion', async () => {
    const { script, monitor } = await talk([CAPABILITIES, { ...MIGRATE, say: [event('completed'), ...MIGRATE.say] }]);
    const saving = saveState({ monitor, signal: never }, directory);
    const socket = await qemuWrites([Buffer.from('first ')]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.end('last');
    expect((await saving).toString()).toBe('first last');
    expect(script.surprises).toEqual([]);
  });

  it.each(['failed', 'cancelled'])("fails with qemu's reason, when it %s", async (status) => {
    const { script, monitor } = await talk([
      CAPABILITIES,
      { ...MIGRATE, say: [...MIGRATE.say, event(status)] },
      { expect: 'query-migrate', say: ['{"return": {"error-desc": "the disk is on fire"}, "id": $id}'] },
    ]);
    await expect(saveState({ monitor, signal: never }, directory)).rejects.toThrow(
      `migrate ${status}: the disk is on fire`,
    );
    expect(script.remaining()).toBe(0);
    expect(await readdir(scene)).toEqual([]);
  });

  it('fails when qemu cannot, and when it dies', async () => {
    const refusing = await talk([
      { ...CAPABILITIES, say: ['{"error": {"class": "GenericError", "desc": "no such capability"}, "id": $id}'] },
    ]);
    await expect(saveState({ monitor: refusing.monitor, signal: never }, directory)).rejects.toThrow(
      /no such capability/,
    );
    const dying = await talk([CAPABILITIES, { ...MIGRATE, hangUp: true }]);
    await expect(saveState({ monitor: dying.monitor, signal: never }, directory)).rejects.toThrow();
    expect(await readdir(scene)).toEqual([]);
  });

  it('fails if no socket can be created', async () => {
    const { monitor } = await talk([]);
    const gone = await open(await mkdtemp(join(scene, 'gone-')), 'r');
    await rm(await readlink(`/proc/self/fd/${gone.fd}`), { recursive: true });
    await expect(saveState({ monitor, signal: never }, gone)).rejects.toMatchObject({
      code: expect.stringMatching(/ENOENT|EACCES/),
    });
    await gone.close();
  });

  it('ends when it is cancelled', async () => {
    const { monitor } = await talk([CAPABILITIES, MIGRATE]);
    const controller = new AbortController();
    const saving = saveState({ monitor, signal: controller.signal }, directory);
    const socket = await qemuWrites([Buffer.from('half')]);
    controller.abort(new Error('the server is shutting down'));
    await expect(saving).rejects.toThrow('the server is shutting down');
    socket.destroy();
  });
});

describe('restoring a state', () => {
  const INCOMING: Exchange = {
    expect: 'migrate-incoming',
    arguments: { uri: 'fd:12' },
    say: ['{"return": {}, "id": $id}', event('active'), event('completed')],
  };

  it('is done when qemu reports it', async () => {
    const { script, monitor } = await talk([CAPABILITIES, INCOMING]);
    await restoreState({ monitor, signal: never }, 12);
    expect([script.remaining(), script.surprises]).toEqual([0, []]);
  });

  it('fails if qemu rejects the state, or ends', async () => {
    const silent = await talk([
      CAPABILITIES,
      { ...INCOMING, say: ['{"return": {}, "id": $id}', event('failed')] },
      { expect: 'query-migrate', say: ['{"return": {}, "id": $id}'] },
    ]);
    await expect(restoreState({ monitor: silent.monitor, signal: never }, 12)).rejects.toThrow(
      'migrate-incoming failed: qemu gives no reason',
    );
    const dying = await talk([CAPABILITIES, { ...INCOMING, say: ['{"return": {}, "id": $id}'], hangUp: true }]);
    await expect(restoreState({ monitor: dying.monitor, signal: never }, 12)).rejects.toThrow();
  });
});
