/**
 * What records declare is what a real server enforces: each action that declares a permission, a refusal or states is
 * called without, with, and in the wrong state. Appliances are fakes, which answer nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { ANY_STATE, statesOf, type CallableState } from '../../../src/actions/callRules.js';
import { hasRpc, needsDaemon } from '../../../src/actions/shape.js';
import type { ActionDef } from '../../../src/actions/types.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { callExample, callWith, outcomeOf } from '../../support/exampleCalls.js';
import type { SessionClient } from '../../support/testClient.js';
import { DECLARATIONS, declarationsOf } from './declarations.js';

const actions = allActions.filter(hasRpc);
const byName = (chosen: readonly ActionDef[]) => chosen.map((action) => [action.name, action] as const);

/** For permissions that depend on the request: a request that needs it. */
const ASKING: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  set_network: { network: true },
  parse_environment_list: { environment: ['LIBGUESTFS_HV=/bin/sh'] },
  add_drive: { filename: '/x', protocol: 'nbd', server: { values: ['127.0.0.1'] } },
  add_domain: { dom: 'x', libvirturi: 'qemu+ext://host/system' },
};

/** ... and one that does not. */
const NOT_ASKING: typeof ASKING = {
  set_network: { network: false },
  // Its variables can need a state, too.
  parse_environment_list: { environment: ['LIBGUESTFS_TRACE=0'] },
  add_drive: { filename: '/x' },
  add_domain: { dom: 'x' },
};

const callWithout = (session: SessionClient, action: ActionDef): Promise<unknown> => {
  const request = NOT_ASKING[action.name];
  return request === undefined ? callExample(session, action) : callWith(session, action, request);
};

/** These end or start the appliance; other tests call them in states that allow them. */
const CHANGE_STATE = new Set(['launch', 'shutdown', 'kill_subprocess']);

/** Starting three servers with their sessions takes long on a busy machine. */
const START_LIMIT_MS = 60_000;

/** Servers that allow nothing, host actions alone, and all. */
let closed: FakeServer;
let partly: FakeServer;
let open: FakeServer;
beforeAll(async () => {
  closed = await startFakeServer({ allowed: [], debugService: false });
  partly = await startFakeServer({ allowed: ['host-actions'], debugService: false });
  open = await startFakeServer({
    allowed: ['remote-drives', 'block-devices', 'backing-files', 'network', 'host-actions', 'custom-qemu'],
    debugService: true,
  });
}, START_LIMIT_MS);
afterAll(async () => {
  await closed.stop();
  await partly.stop();
  await open.stop();
});

const refused = (setting: string): object => ({
  reason: 'NOT_ALLOWED',
  text: expect.stringContaining(`its operator can allow it with ${setting}`),
});
const inConfig = (server: FakeServer): SessionClient => server.sessions.CONFIG;

describe('a permission', () => {
  const always = actions.filter(({ permissions = [] }) => permissions.some(({ when }) => when === undefined));

  it.each(byName(always))('is what %s needs', async (_name, action) => {
    const { permission } = action.permissions?.find(({ when }) => when === undefined) ?? {};
    expect(await outcomeOf(callExample(inConfig(closed), action))).toMatchObject(
      refused(`--allow ${permission ?? ''}`),
    );
    expect((await outcomeOf(callExample(inConfig(open), action)))?.reason).not.toBe('NOT_ALLOWED');
  });

  const sometimes = actions.filter(({ permissions = [] }) =>
    permissions.some(({ when }) => typeof when === 'object' && 'field' in when),
  );

  it.each(byName(sometimes))('is what some requests of %s need', async (name, action) => {
    const asking = ASKING[name];
    if (asking === undefined) throw new Error(`no request of ${name} that needs its permission`);
    const needed = action.permissions?.find(({ when }) => typeof when === 'object');
    expect(await outcomeOf(callWith(inConfig(partly), action, asking))).toMatchObject(
      refused(`--allow ${needed?.permission ?? ''}`),
    );
    expect((await outcomeOf(callWith(inConfig(open), action, asking)))?.reason).not.toBe('NOT_ALLOWED');
    expect((await outcomeOf(callWithout(inConfig(partly), action)))?.reason).not.toBe('NOT_ALLOWED');
  });

  it.each(byName(actions.filter(({ visibility }) => visibility === 'debug')))(
    'is --debug-service for %s',
    async (_name, action) => {
      expect(await outcomeOf(callExample(inConfig(closed), action))).toMatchObject(refused('--debug-service'));
      const outcome = await outcomeOf(callExample(inConfig(open), action));
      expect(outcome?.reason).toBe(needsDaemon(action) ? 'WRONG_STATE' : undefined);
    },
  );
});

describe('a refusal', () => {
  const refusals = actions.filter(({ notOverNetwork }) => notOverNetwork !== undefined);

  it.each(byName(refusals))('is the answer to %s in any state, with an alternative', async (_name, action) => {
    for (const state of ANY_STATE) {
      expect(await outcomeOf(callExample(open.sessions[state], action))).toMatchObject({
        reason: 'NOT_OVER_NETWORK',
        text: expect.stringContaining(`Instead, ${action.notOverNetwork?.instead ?? ''}`),
      });
    }
  });
});

describe('a state', () => {
  const served = actions.filter(({ notOverNetwork }) => notOverNetwork === undefined);
  const wrongStates = (action: ActionDef): readonly CallableState[] =>
    ANY_STATE.filter((state) => !statesOf(action).includes(state));

  it.each(byName(served.filter((action) => wrongStates(action).length > 0)))(
    'that is wrong for %s causes a refusal',
    async (name, action) => {
      for (const state of wrongStates(action)) {
        if (state === 'STOPPING' && statesOf(action).includes('READY')) {
          expect(await outcomeOf(callExample(open.sessions[state], action))).toMatchObject({
            reason: 'APPLIANCE_GONE',
            text: expect.stringContaining(`the appliance ended before ${name} was sent to it`),
          });
          continue;
        }
        const needed = `${name} needs a session in state ${statesOf(action).join(' or ')}; this one is in state ${state}`;
        expect(await outcomeOf(callExample(open.sessions[state], action))).toMatchObject({
          reason: 'WRONG_STATE',
          text: expect.stringContaining(needed),
        });
      }
    },
  );

  // Actions that need the daemon would wait for it in the right state.
  const answered = served.filter((action) => !needsDaemon(action) && !CHANGE_STATE.has(action.name));

  it.each(byName(answered))('that is right for %s causes none', async (_name, action) => {
    for (const state of statesOf(action)) {
      if (state === 'READY' && action.notLaunching === true) continue; // attaches to the appliance
      expect((await outcomeOf(callWithout(open.sessions[state], action)))?.reason).not.toBe('WRONG_STATE');
    }
  });
});

it('no declaration is lost', () => {
  expect(declarationsOf(actions)).toEqual(DECLARATIONS);
});
