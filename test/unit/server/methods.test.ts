import { describe, expect, it } from '@jest/globals';
import { daemonCalls } from '../../../gen/calls/index.js';
import { services } from '../../../gen/services.js';
import { areas } from '../../../src/actions/areas.js';
import { camelCase, pascalCase } from '../../../src/actions/names.js';
import { hasRpc, isFileIn, isFileOut, isStreamedAnswer } from '../../../src/actions/shape.js';
import { libraryActions } from '../../../src/library/index.js';
import { rpcOf } from '../../../src/server/methods.js';

const composites = areas.flatMap((area) => (area.compositeRpcs ?? []).map((rpc) => ({ area, rpc })));
const rpcs = areas.flatMap((area) => area.actions.filter(hasRpc).map((action) => ({ area, action })));

describe('the RPCs', () => {
  it('are one for each of the 600 public actions and the 4 of DebugService, and the composite RPCs', () => {
    expect(rpcs.filter(({ area }) => area.name !== 'debug')).toHaveLength(600);
    expect(rpcs.filter(({ area }) => area.name === 'debug')).toHaveLength(4);
    expect(Object.values(services).flatMap((service) => Object.keys(service))).toHaveLength(604 + composites.length);
  });

  it.each(composites.map(({ area, rpc }) => [rpc.name, area] as const))(
    '%s has its path, and is answered in a stream',
    (name, area) => {
      const { method } = rpcOf(services[area.name] ?? {}, name);
      expect(method).toMatchObject({
        path: `/guestfs.v1.${area.service ?? ''}/${name}`,
        requestStream: false,
        responseStream: true,
      });
    },
  );

  it.each(rpcs.map(({ area, action }) => [action.name, area, action] as const))(
    '%s has its path, its kind of stream and a handler',
    (_name, area, action) => {
      const { method } = rpcOf(services[area.name] ?? {}, pascalCase(action.name));
      expect(method.path).toBe(`/guestfs.v1.${area.service ?? ''}/${pascalCase(action.name)}`);
      expect(method.requestStream).toBe(isFileIn(action));
      expect(method.responseStream).toBe(isFileOut(action) || isStreamedAnswer(action));
      if (action.impl === 'daemon')
        expect(daemonCalls[camelCase(action.name)]).toMatchObject({ action: action.name, procedure: action.procedure });
      else if (action.notOverNetwork === undefined) expect(libraryActions).toHaveProperty(action.name);
    },
  );
});
