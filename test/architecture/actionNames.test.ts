/**
 * Everything about an action is in its record: no source outside `src/actions` names actions, or could contain a table
 * of them. `src/library` names those that it implements, and words with another meaning do not count as names.
 */
import { describe, expect, test } from '@jest/globals';
import ts from 'typescript';
import { actionsByName } from '../../src/actions/byName.js';
import { filesBelow, textOf } from './sourceTree.js';

/** Names of actions that are also ordinary words in these sources, and what they mean there. */
const WORDS: Readonly<Record<string, string>> = {
  chown: 'a function of Node.js',
  config: 'settings of a launch',
  debug: 'a level of the log',
  download: 'what a daemon does with a file',
  file: 'a kind of image, of argument and of block node',
  head: 'the start of an image',
  launch: 'what a session does, and its event',
  mountpoints: 'a field of a report',
  sh: 'a program of appliance and host',
  sync: 'how a stream writes',
  upload: 'what a daemon does with a file',
  version: 'of a daemon',
  write: 'to a stream, or to a disk',
};

interface Found {
  readonly name: string;
  readonly where: string;
  readonly node: ts.Node;
}

/** String literals, types too, and names of what an object has, functions too. */
function nameOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  const isMember =
    ts.isPropertyAssignment(node) || (ts.isMethodDeclaration(node) && ts.isObjectLiteralExpression(node.parent));
  return isMember && ts.isIdentifier(node.name) ? node.name.text : undefined;
}

function namesIn(path: string, text: string = textOf(path)): Found[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
  const found: Found[] = [];
  const visit = (node: ts.Node): void => {
    const name = nameOf(node);
    if (name !== undefined && actionsByName.has(name)) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      found.push({ name, where: `${path}:${line + 1}`, node });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** True for a method, such as `upload` of a daemon: its name says what it does. */
function isFunction({ node }: Found): boolean {
  return ts.isMethodDeclaration(node) || (ts.isPropertyAssignment(node) && ts.isArrowFunction(node.initializer));
}

/** The complete list or table that contains a name; it may consist of others, such as the pairs of a map. */
function tableOf({ node }: Found): ts.Node | undefined {
  let table: ts.Node | undefined;
  for (let outer = node.parent; !ts.isSourceFile(outer); outer = outer.parent) {
    if (ts.isArrayLiteralExpression(outer) || ts.isObjectLiteralExpression(outer)) table = outer;
    else if (!ts.isPropertyAssignment(outer) && !ts.isAsExpression(outer) && !ts.isSatisfiesExpression(outer)) break;
  }
  return table;
}

/** An expression for the name of an action. */
const ACTION = /(^|\.)action(Name)?(\??\.name)?$/;

/** True for a word that is compared with an action's name: then it is a name, whatever else it may mean. */
function isCompared({ node }: Found): boolean {
  const { parent } = node;
  if (ts.isCaseClause(parent)) return ACTION.test(parent.parent.parent.expression.getText());
  return ts.isBinaryExpression(parent) && [parent.left, parent.right].some((side) => ACTION.test(side.getText()));
}

/** What is wrong with the names in a file. */
function objections(path: string, text?: string): string[] {
  const implementing = path.startsWith('src/library/');
  const names = namesIn(path, text).filter(({ name }) => !implementing || actionsByName.get(name)?.impl !== 'library');
  const tables = new Map<ts.Node, Set<string>>();
  for (const found of names) {
    const table = isFunction(found) ? undefined : tableOf(found);
    if (table !== undefined) tables.set(table, (tables.get(table) ?? new Set()).add(found.name));
  }
  return [
    ...names
      .filter((found) => !(found.name in WORDS) || isCompared(found))
      .map(({ name, where }) => `${where}: '${name}' is an action's name`),
    ...[...tables.values()]
      .filter((one) => one.size > 1)
      .map((one) => `${path}: a table of actions: ${[...one].join(', ')}`),
  ];
}

const sources = filesBelow('src', '.ts').filter((path) => !path.startsWith('src/actions/'));

describe('names of actions', () => {
  test('occur in no source other than their records', () => {
    expect(sources.flatMap((path) => objections(path))).toEqual([]);
  });

  test('that are words as well are used as such', () => {
    const used = new Set(sources.flatMap((path) => namesIn(path)).map(({ name }) => name));
    expect(Object.keys(WORDS).filter((word) => !used.has(word))).toEqual([]);
  });

  test.each([
    ['a set of names', "const SLOW = new Set(['lvs', 'pvs']);", true],
    ['a table', "const HELP = { mkfs: 'makes a file system' };", true],
    ['a map', "const HELP = new Map([['part_disk', 1]]);", true],
    ['a comparison', "if (action.name === 'part_disk') return;", true],
    ['a table of words', "const SLOW = ['launch', 'write', 'head'];", true],
    ['a table of words with facts', 'const LIMITS = { write: 1, head: 2 };', true],
    ['a map of words', "const LIMITS = new Map([['write', 1], ['head', 2]]);", true],
    ['a table of functions', 'const QUIRKS = { mkfs: () => 1, lvs() {} };', true],
    ['a word that an action is compared with', "if (call.action.name === 'write') return;", true],
    ['a word that is a case of an action', "switch (actionName) { case 'launch': return; }", true],
    ['methods', 'const daemon = { upload: () => 1, download: () => 2 };', false],
    ['a word that something else is compared with', "if (drive.kind === 'file') return;", false],
    ['a word', "emit({ kind: 'launch' });", false],
  ])('are distinguished from words: %s', (_what, text, wrong) => {
    expect(objections('src/server/example.ts', text).length > 0).toBe(wrong);
  });
});
