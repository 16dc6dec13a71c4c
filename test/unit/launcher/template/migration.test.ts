import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { restoreState, saveState, type StateChannel } from '../../../../src/launcher/template/migration.js';
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
  arguments: { uri: 'fd:6' },
  say: ['{"return": {}, "id": $id}'],
};

let latest: ScriptedMonitor | undefined;

async function talk(script: readonly Exchange[]): Promise<{ script: ScriptedMonitor; monitor: QmpClient }> {
  const scripted = scriptedMonitor([NEGOTIATION, ...script]);
  latest = scripted;
  return { script: scripted, monitor: await QmpClient.connect(scripted.stream, never) };
}

/** The channel; qemu writes to it, and closes it when it ends. */
function stateChannel(): StateChannel & { readonly qemu: PassThrough; readonly ended: () => boolean } {
  const qemu = new PassThrough();
  let ended = false;
  const endQemu = async (): Promise<void> => {
    ended = true;
    qemu.end();
  };
  return { fd: 6, channel: qemu, endQemu, qemu, ended: () => ended };
}
const migrating = (): Promise<void> => eventually(() => latest?.remaining() === 0);

describe('saving a state', () => {
  it('returns what qemu writes until it has ended', async () => {
    const { script, monitor } = await talk([CAPABILITIES, MIGRATE]);
    const { qemu, ...state } = stateChannel();
    const saving = saveState({ monitor, signal: never }, state);
    await migrating();
    const parts = [Buffer.from('one'), Buffer.alloc(100_000, 2), Buffer.from('three')];
    for (const part of parts) qemu.write(part);
    expect(state.ended()).toBe(false);
    script.say(`${event('active')}\n${event('completed')}\n`);
    expect((await saving).equals(Buffer.concat(parts))).toBe(true);
    expect([script.remaining(), script.surprises]).toEqual([0, []]);
  });

  it('waits for the bytes, which may arrive after qemu has reported completion', async () => {
    const { script, monitor } = await talk([CAPABILITIES, { ...MIGRATE, say: [event('completed'), ...MIGRATE.say] }]);
    const { qemu, ...state } = stateChannel();
    const endQemu = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      qemu.end('last');
    };
    qemu.write('first ');
    expect((await saveState({ monitor, signal: never }, { ...state, endQemu })).toString()).toBe('first last');
    expect(script.surprises).toEqual([]);
  });

  it.each(['failed', 'cancelled'])("fails with qemu's reason, when it %s", async (status) => {
    const { script, monitor } = await talk([
      CAPABILITIES,
      { ...MIGRATE, say: [...MIGRATE.say, event(status)] },
      { expect: 'query-migrate', say: ['{"return": {"error-desc": "the disk is on fire"}, "id": $id}'] },
    ]);
    await expect(saveState({ monitor, signal: never }, stateChannel())).rejects.toThrow(
      `migrate ${status}: the disk is on fire`,
    );
    expect(script.remaining()).toBe(0);
  });

  it('fails when qemu cannot, and when it dies', async () => {
    const refusing = await talk([
      { ...CAPABILITIES, say: ['{"error": {"class": "GenericError", "desc": "no such capability"}, "id": $id}'] },
    ]);
    await expect(saveState({ monitor: refusing.monitor, signal: never }, stateChannel())).rejects.toThrow(
      /no such capability/,
    );
    const dying = await talk([CAPABILITIES, { ...MIGRATE, hangUp: true }]);
    await expect(saveState({ monitor: dying.monitor, signal: never }, stateChannel())).rejects.toThrow();
  });

  it('fails when the channel breaks', async () => {
    const { script, monitor } = await talk([CAPABILITIES, MIGRATE]);
    const { qemu, ...state } = stateChannel();
    const saving = saveState({ monitor, signal: never }, state);
    await migrating();
    qemu.destroy(new Error('reset'));
    script.say(`${event('completed')}\n`);
    await expect(saving).rejects.toThrow('reset');
  });

  it('ends when it is cancelled', async () => {
    const { monitor } = await talk([CAPABILITIES, MIGRATE]);
    const controller = new AbortController();
    const { qemu, ...state } = stateChannel();
    const saving = saveState({ monitor, signal: controller.signal }, state);
    await migrating();
    qemu.write('half');
    controller.abort(new Error('the server is shutting down'));
    await expect(saving).rejects.toThrow('the server is shutting down');
    qemu.destroy();
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
