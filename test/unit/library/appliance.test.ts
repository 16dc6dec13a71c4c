import { describe, expect, it, jest } from '@jest/globals';
import { applianceActions } from '../../../src/library/appliance.js';
import type { Session } from '../../../src/session/session.js';
import { aside, inTurn } from './fakes.js';

function inState(state: Session['state'], more: Partial<Session> = {}): Session {
  return { state, pendingCalls: 0, ...more } as Session;
}

describe('queries of the state', () => {
  it.each([
    ['CONFIG', 0, true, false, false],
    ['LAUNCHING', 1, false, true, false],
    ['READY', 2, false, false, true],
    ['CLOSED', 0xebadebad | 0, false, false, false],
  ] as const)('in %s', async (state, number, config, launching, ready) => {
    const context = aside('get_state', { session: inState(state) });
    expect(await applianceActions.get_state(context, {})).toEqual({ state: number });
    expect(await applianceActions.is_config(context, {})).toEqual({ config });
    expect(await applianceActions.is_launching(context, {})).toEqual({ launching });
    expect(await applianceActions.is_ready(context, {})).toEqual({ ready });
    expect(await applianceActions.is_busy(context, {})).toEqual({ busy: false });
  });

  it('queries about the appliance return its data', async () => {
    const session = inState('READY', {
      machine: { pid: 42 } as NonNullable<Session['machine']>,
    });
    expect(await applianceActions.get_pid(aside('get_pid', { session }), {})).toEqual({ pid: 42 });
    expect(await applianceActions.wait_ready(aside('wait_ready', { session }), {})).toEqual({});
  });
});

describe('kill_subprocess', () => {
  it.each([
    ['READY', 0, true, 'shutdown'],
    ['CONFIG', 0, true, 'shutdown'],
    ['READY', 1, true, 'kill'],
    ['LAUNCHING', 0, true, 'kill'],
    ['READY', 0, false, 'kill'],
    ['STOPPING', 0, false, 'kill'],
  ] as const)('in %s with %d calls, and an appliance that answers (%s), is %s', async (...row) => {
    const [state, pendingCalls, answered, expected] = row;
    const called: string[] = [];
    const answers = async (): Promise<boolean> => answered;
    const shutdown = jest.fn(async () => void called.push('shutdown'));
    const kill = jest.fn(async () => void called.push('kill'));
    await applianceActions.kill_subprocess(
      aside('kill_subprocess', { session: inState(state, { pendingCalls, answers, shutdown, kill }) }),
      {},
    );
    expect(called).toEqual([expected]);
  });
});

describe('version', () => {
  it.each([
    [undefined, { major: 1n, minor: 61n, release: 1n, extra: '' }],
    ['1.54.1', { major: 1n, minor: 54n, release: 1n, extra: '' }],
    ['1.48.6rhel=9,release=4', { major: 1n, minor: 48n, release: 6n, extra: 'rhel=9,release=4' }],
  ])('with the daemon %s', async (text, version) => {
    const session = inState('READY', (text === undefined ? {} : { daemonVersion: { text } }) as Partial<Session>);
    expect(await applianceActions.version(aside('version', { session }), {})).toEqual({ version });
  });
});

describe('available and feature_available', () => {
  /** What the daemon answers for each group. */
  const results: Readonly<Record<string, number>> = { there: 0, missing: 1, unheard: 2 };
  const script = {
    answers: { internal_feature_available: ({ group }: { group: string }) => ({ result: results[group] }) },
  };

  it('for groups that are available', async () => {
    const context = inTurn('available', script);
    expect(await applianceActions.available(context, { groups: ['there', 'there'] })).toEqual({});
    expect(await applianceActions.feature_available(context, { groups: ['there'] })).toEqual({ isavailable: true });
    expect(await applianceActions.feature_available(context, { groups: [] })).toEqual({ isavailable: true });
  });

  it('for a missing group', async () => {
    const context = inTurn('available', script);
    await expect(applianceActions.available(context, { groups: ['there', 'missing'] })).rejects.toMatchObject({
      reason: 'GROUP_NOT_AVAILABLE',
      details: { metadata: { optional_group: 'missing', daemon_version: '1.54.1' } },
    });
    expect(await applianceActions.feature_available(context, { groups: ['there', 'missing', 'unheard'] })).toEqual({
      isavailable: false,
    });
  });

  it('for an unknown group', async () => {
    const context = inTurn('available', script);
    await expect(applianceActions.available(context, { groups: ['unheard'] })).rejects.toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: 'unheard: unknown group',
    });
    await expect(applianceActions.feature_available(context, { groups: ['unheard'] })).rejects.toMatchObject({
      reason: 'BAD_ARGUMENT',
    });
  });
});
