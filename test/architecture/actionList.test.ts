/**
 * The action list agrees with the facts of libguestfs's interface (1.61.1), which are recorded separately in
 * `test/fixtures/libguestfs`: otherwise only a daemon would detect a mistyped name, number or type.
 */
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { allActions } from '../../src/actions/areas.js';
import { structs } from '../../src/actions/structs.js';
import type { ActionDef, StructDef } from '../../src/actions/types.js';
import { EVENT_KINDS } from '../../src/events/sessionEvent.js';
import {
  CANCEL_FLAG,
  LAUNCH_FLAG,
  MESSAGE_MAX,
  PROGRAM,
  PROGRESS_FLAG,
  PROTOCOL_VERSION,
} from '../../src/protocol/constants.js';
import { root } from './sourceTree.js';

interface Named {
  readonly name: string;
}

interface Interface {
  readonly events: readonly Named[];
  readonly protocol: Readonly<Record<string, number>>;
}

const read = (file: string): string => readFileSync(join(root, 'test', 'fixtures', 'libguestfs', file), 'utf8');
/** One member per line. */
const members = (file: string): Named[] =>
  read(file)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Named);

/** The facts about an action. */
function factsOf(action: ActionDef): Named {
  return {
    name: action.name,
    procedure: action.procedure,
    since: action.since,
    impl: action.impl,
    visibility: action.visibility,
    returns: action.returns,
    args: action.args.map((argument) => ({
      type: argument.type,
      kind: 'kind' in argument ? argument.kind : undefined,
      name: argument.name,
    })),
    optargs: action.optargs.map(({ type, name }) => ({ type, name })),
    optionalGroup: action.optionalGroup,
    configOnly: action.configOnly,
    progress: action.progress,
    cancellable: action.cancellable,
    deprecated: action.deprecated,
    replacedBy: action.replacedBy,
    aliases: action.aliases,
    history: action.history?.map(({ until, procedure }) => ({ until, procedure })),
  } as Named;
}

function fieldsOf({ name, fields }: StructDef): Named {
  return { name, fields: fields.map((field) => ({ name: field.name, type: field.type })) } as Named;
}

/** Members of the list that are missing from the facts, or differ there; each in both forms. */
function differences(listed: readonly Named[], stated: readonly Named[]): unknown[] {
  const theirs = new Map(stated.map((item) => [item.name, item]));
  // Through JSON, so that an undefined property counts as missing.
  return (JSON.parse(JSON.stringify(listed)) as Named[])
    .filter((item) => !isDeepStrictEqual(item, theirs.get(item.name)))
    .map((item) => ({ list: item, facts: theirs.get(item.name) }));
}

describe('the action list and the facts', () => {
  const facts = members('actions.jsonl');
  const interfaceFacts = JSON.parse(read('interface.json')) as Interface;

  test('name the same actions', () => {
    expect(facts).toHaveLength(621);
    expect(allActions.map(({ name }) => name).sort()).toEqual(facts.map(({ name }) => name).sort());
  });

  test('agree on each action', () => {
    expect(differences(allActions.map(factsOf), facts)).toEqual([]);
  });

  test('agree on each struct', () => {
    const stated = members('structs.jsonl');
    expect(structs.map(({ name }) => name).sort()).toEqual(stated.map(({ name }) => name).sort());
    expect(differences(structs.map(fieldsOf), stated)).toEqual([]);
  });

  test('have the same events, except those that only a process that uses the library gets', () => {
    const names = interfaceFacts.events.map(({ name }) => name).filter((name) => name !== 'libvirt_auth');
    expect(EVENT_KINDS).toEqual(expect.arrayContaining(names));
  });

  test('have the same protocol', () => {
    expect({
      program: PROGRAM,
      version: PROTOCOL_VERSION,
      messageMax: MESSAGE_MAX,
      launchFlag: LAUNCH_FLAG,
      cancelFlag: CANCEL_FLAG,
      progressFlag: PROGRESS_FLAG,
    }).toEqual(interfaceFacts.protocol);
  });
});
