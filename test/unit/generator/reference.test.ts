/** The reference is true: what it says of errors, and the requests that it shows. */
import { readFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { allActions, areas } from '../../../src/actions/areas.js';
import { namesWithAlternatives } from '../../../src/actions/largeMessages.js';
import { hasRpc, isStreamedAnswer, needsDaemon } from '../../../src/actions/shape.js';
import { emitAreaReference } from '../../../src/generator/emitReference.js';
import { exampleRequest } from '../../../src/generator/exampleValues.js';
import { knownErrors } from '../../../src/generator/knownErrors.js';
import { requestFields } from '../../../src/generator/shape.js';
import { checkArguments } from '../../../src/server/checkArguments.js';
import { knownReasons, statusOf } from '../../../src/server/statusMapping.js';

const actions = allActions.filter(hasRpc);
const JSON_TYPES: Readonly<Record<string, string>> = { string: 'string', bytes: 'string', bool: 'boolean', int32: 'number', int64: 'string' };

describe('examples', () => {
  it.each(actions.map((action) => [action.name, action] as const))('%s is given what it needs, of the right types', (_name, action) => {
    const example = exampleRequest(action);
    const fields = requestFields(action).filter(({ label, type }) => label !== 'optional ' && type !== 'StringList');
    expect(Object.keys(example)).toEqual(fields.map(({ name }) => name));
    for (const { name, type, label } of fields) {
      const value = example[name];
      const [first] = label === 'repeated ' ? value as unknown[] : [value];
      expect([name, typeof first]).toEqual([name, JSON_TYPES[type]]);
      if (type === 'int64') expect(value).toMatch(/^\d+$/);
    }
    const request = Object.fromEntries(fields.map(({ name, type }) => [name, type === 'int64' ? BigInt(example[name] as string) : type === 'bytes' ? Buffer.from(example[name] as string, 'base64') : example[name]]));
    expect(() => checkArguments(action, request)).not.toThrow();
  });
});

describe('needs', () => {
  it.each(areas.filter(({ service }) => service !== undefined).map((area) => [area.name, area] as const))('state READY, in the page of %s, for each action that talks to the daemon', (_name, area) => {
    const needs = emitAreaReference(area).split('\n').filter((line) => line.startsWith('- needs: '));
    expect(needs.map((line) => line.includes('state READY'))).toEqual(area.actions.filter(hasRpc).map(needsDaemon));
  });
});

describe('errors', () => {
  it('have the status that their reason has', () => {
    const wrong = actions.flatMap((action) => knownErrors(action).filter((one) => status[statusOf(one.reason)] !== one.status).map((one) => [action.name, one]));
    expect(wrong).toEqual([]);
  });

  it('are told of most actions', () => {
    expect(actions.filter((action) => knownErrors(action).length > 0).length).toBeGreaterThan(actions.length * 0.8);
  });

  it('say what to use instead of an action whose message would be too large', () => {
    const said = actions.flatMap((action) => knownErrors(action).filter(({ reason }) => reason === 'MESSAGE_TOO_LARGE').map(({ when }) => `${action.name}: ${when}`));
    expect(said).toEqual(expect.arrayContaining([
      'cat: the answer does not fit into one message (4 MiB): use Download, which streams, or Pread for a part',
      'write: the arguments do not fit into one message (8 MiB): use Upload, which streams',
      'pwrite: the arguments do not fit into one message (4 MiB): use UploadOffset, which streams, or write less at a time',
      'vfs_type: the answer does not fit into one message (4 MiB)',
    ]));
    // Those of RPCs that are no actions, or of actions that are none, are told by the error alone.
    const alternatives = namesWithAlternatives.filter((name) => actions.some((action) => action.name === name && !isStreamedAnswer(action)));
    expect(said.filter((one) => one.includes('MiB): '))).toHaveLength(alternatives.length);
  });

  it('are all in the document on errors, with their status', () => {
    const rows = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| ([A-Z][A-Z0-9_]+) \| ([A-Z_]+) \|/gm)].map(([, reason = '', code = '']) => [reason, code]);
    expect(new Map(rows as [string, string][])).toEqual(new Map(knownReasons.map((reason) => [reason, status[statusOf(reason)]])));
    expect(rows).toHaveLength(knownReasons.length);
  });
});
