/**
 * The action list agrees with the facts of libguestfs's interface, which were read from its
 * definition and are kept outside the project: a name, number or type that was mistyped
 * here would otherwise be found only by a daemon.
 */
import { describe, expect, test } from '@jest/globals';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { allActions } from '../../src/actions/areas.js';
import { structs } from '../../src/actions/structs.js';
import type { ActionDef, StructDef } from '../../src/actions/types.js';
import { root } from './sourceTree.js';

interface Value {
  readonly type: string;
  readonly name?: string;
  readonly kind?: string;
  readonly struct?: string;
  readonly key?: string;
  readonly value?: string;
}

interface ActionFacts {
  readonly name: string;
  readonly proc: number | null;
  readonly added: string;
  readonly ret: Value;
  readonly args: readonly Value[];
  readonly optargs: readonly Value[];
  readonly visibility: string;
  readonly impl: string;
  readonly optional?: string;
  readonly deprecated?: boolean;
  readonly replaced_by?: string;
  readonly config_only?: boolean;
  readonly progress?: boolean;
  readonly cancellable?: boolean;
  readonly aliases?: readonly string[];
  readonly history?: readonly { readonly until: string; readonly proc: number }[];
}

interface Facts {
  readonly actions: readonly ActionFacts[];
  readonly structs: readonly { readonly name: string; readonly fields: readonly Value[] }[];
}

const factsFile = join(root, '..', 'shared', 'facts', 'actions.json');
const present = existsSync(factsFile);
if (!present) console.warn(`SKIPPED: the facts to compare the action list with are not there (${factsFile})`);

/** The facts, in the shape of the action list. */
function expected(facts: ActionFacts) {
  const { name: returnName, type, kind, struct, key, value } = facts.ret;
  return {
    name: facts.name,
    procedure: facts.proc ?? 0,
    since: facts.added,
    returns: { type, name: returnName, kind, struct, keyKind: key, valueKind: value },
    args: facts.args.map(({ type, kind, name }) => ({ type, kind, name })),
    optargs: facts.optargs,
    impl: facts.impl,
    visibility: facts.visibility,
    optionalGroup: facts.optional,
    deprecated: facts.deprecated,
    replacedBy: facts.replaced_by,
    configOnly: facts.config_only,
    progress: facts.progress,
    cancellable: facts.cancellable,
    aliases: facts.aliases,
    history: facts.history?.map(({ until, proc }) => ({ until, procedure: proc })),
  };
}

/** The same of an entry of the list; what the facts do not tell is left out. */
function actual(action: ActionDef) {
  return {
    name: action.name,
    procedure: action.procedure,
    since: action.since,
    returns: action.returns,
    args: action.args.map((argument) => ({
      type: argument.type,
      kind: 'kind' in argument ? argument.kind : undefined,
      name: argument.name,
    })),
    optargs: action.optargs.map(({ type, name }) => ({ type, name })),
    impl: action.impl,
    visibility: action.visibility,
    optionalGroup: action.optionalGroup,
    deprecated: action.deprecated,
    replacedBy: action.replacedBy,
    configOnly: action.configOnly,
    progress: action.progress,
    cancellable: action.cancellable,
    aliases: action.aliases,
    history: action.history?.map(({ until, procedure }) => ({ until, procedure })),
  };
}

interface Named {
  readonly name: string;
}

/** Members of two lists that have one name and are not alike, each as it is in both. */
function differences(listed: readonly Named[], stated: readonly Named[]): unknown[] {
  // Through JSON: a property that is undefined is one that is not there.
  const [ours, theirs] = [listed, stated].map(
    (items) => new Map((JSON.parse(JSON.stringify(items)) as Named[]).map((item) => [item.name, item])),
  );
  return [...(ours ?? [])]
    .filter(([name, item]) => theirs?.has(name) && !isDeepStrictEqual(item, theirs.get(name)))
    .map(([name, item]) => ({ list: item, facts: theirs?.get(name) }));
}

(present ? describe : describe.skip)('the action list and the facts', () => {
  const facts = (present ? JSON.parse(readFileSync(factsFile, 'utf8')) : { actions: [], structs: [] }) as Facts;

  test('name the same actions', () => {
    expect(allActions.map(({ name }) => name).sort()).toEqual(facts.actions.map(({ name }) => name).sort());
  });

  test('tell the same of each action', () => {
    expect(differences(allActions.map(actual), facts.actions.map(expected))).toEqual([]);
  });

  test('tell the same of each struct', () => {
    const form = ({ name, fields }: StructDef | Facts['structs'][number]) => ({
      name,
      fields: fields.map((field) => ({ name: field.name, type: field.type })),
    });
    expect(structs.map(({ name }) => name).sort()).toEqual(facts.structs.map(({ name }) => name).sort());
    expect(differences(structs.map(form), facts.structs.map(form))).toEqual([]);
  });
});
