/** The figures of docs/scale.md are those that the program prints. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { root, textOf } from '../../../architecture/sourceTree.js';
import { readCommandLine, table, type Flags } from './modules.js';

const page = textOf('docs/scale.md');
const { flags, tables } = readCommandLine([]);

/** The tables of the page: blocks of lines that begin with a bar. */
const printed = page.match(/(?:^\|.*\n)+/gm) ?? [];

/** The first table of the page with the same head. */
function onPage(text: string): string {
  const [head = ''] = text.split('\n');
  return printed.find((one) => one.startsWith(`${head}\n`))?.trimEnd() ?? '';
}

test.each(['mesh', 'limits'])('the table %s is in docs/scale.md', (name) => {
  const text = table(name, flags);
  expect(onPage(text)).toBe(text);
});

test('so is that of cells', () => {
  const text = table('mesh', { ...flags, nodes: [10_000], cell: 200 });
  expect(printed.map((one) => one.trimEnd())).toContain(text);
});

/** Each row has its own simulation, so that the small ones can be repeated alone. */
test('the table sizes is, up to 100 nodes', () => {
  const few: Flags = { ...flags, nodes: flags.nodes.filter((nodes) => nodes <= 100) };
  const text = table('sizes', few);
  const rows = onPage(text).split('\n');
  expect(rows).toHaveLength(2 + flags.nodes.length);
  expect(rows.slice(0, text.split('\n').length).join('\n')).toBe(text);
});

test.each(['pools', 'placing', 'updates'])(
  'the table %s is',
  (name) => {
    const text = table(name, flags);
    expect(onPage(text)).toBe(text);
  },
  120_000,
);

test('the page names every table and its command', () => {
  for (const name of tables) expect(page).toMatch(new RegExp(`npm run scale -- ${name}\\b`));
});

/** The program itself, with arguments that take no time. */
function scale(...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'scale.mjs'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, GUESTFS_GRPC_NO_SETUP: '1' },
  });
  return { status, output: stdout + stderr };
}

test('the program prints the tables that it is asked for', () => {
  const { status, output } = scale('limits', 'mesh', '--nodes', '1,50', '--cell', '20');
  expect({ status, output }).toEqual({ status: 0, output: expect.stringContaining('| 50 | 23 |') });
  expect(output).not.toContain('launch p50');
});

test.each([
  [['nonsense'], 'there is no table "nonsense": sizes, mesh'],
  [['--nodes', '1,x'], 'must be a number'],
  [['--nodes', '0'], 'must be 1 or more'],
  [['--placing', 'best'], 'Allowed choices are round-robin, orca, random-two'],
  [['--compute', '70'], 'cannot be more'],
  [['--memory', '1'], 'no place for a session'],
])('%j is refused: %s', (args, text) => {
  const { status, output } = scale(...args);
  expect({ status, output }).toEqual({ status: 1, output: expect.stringContaining(text) });
});
