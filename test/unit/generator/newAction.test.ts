/** A new action is one record: from it alone, the generator writes everything that the action needs. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import { root } from '../../architecture/sourceTree.js';

// The compiler takes some seconds.
jest.setTimeout(120_000);

const RECORD = `
  daemon({
    name: 'journal_made_up',
    procedure: 9999,
    since: '1.99.1',
    args: [pathname('directory')],
    optargs: [int64('most')],
    returns: returnsInt64('entries'),
    summary: 'Counts what nobody counts',
    example: { directory: '/var/log/made-up' },
  }),
];`;
/** The generator's inputs. */
const SOURCES = ['src/actions', 'src/generator', 'tsconfig.json', 'tsconfig.generator.json', 'package.json'];
/** ... and its outputs, except those with the new action. */
const OTHERS = ['proto/guestfs/v1/lvm.proto', 'gen/calls/lvm.ts', 'gen/services.ts', 'docs/reference/lvm.md'];

let copy: string;
const inCopy = (path: string): string => readFileSync(join(copy, path), 'utf8');

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'new-action-'));
  for (const path of SOURCES) cpSync(join(root, path), join(copy, path), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const area = 'src/actions/areas/journal.ts';
  const text = inCopy(area);
  expect(text.trimEnd().endsWith('\n];')).toBe(true);
  writeFileSync(join(copy, area), text.trimEnd().slice(0, -'\n];'.length) + RECORD);
  const run = (...command: string[]): void =>
    void execFileSync(process.execPath, command, { cwd: copy, stdio: ['ignore', 'pipe', 'pipe'] });
  run('node_modules/.bin/tsc', '-p', 'tsconfig.generator.json');
  run('dist/generator/src/generator/main.js');
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

it('has an RPC with its messages', () => {
  const proto = inCopy('proto/guestfs/v1/journal.proto');
  expect(proto).toContain('rpc JournalMadeUp(JournalMadeUpRequest) returns (JournalMadeUpResponse)');
  expect(proto).toMatch(/message JournalMadeUpRequest \{[^}]*string directory = 1;[^}]*optional int64 most = 2;/s);
  expect(proto).toMatch(/message JournalMadeUpResponse \{[^}]*int64 entries = 1;/s);
});

it('has a codec, which is listed with those of all actions', () => {
  expect(inCopy('gen/calls/journal.ts')).toMatch(/journalMadeUp.*action: 'journal_made_up',\s*procedure: 9999/s);
  expect(inCopy('gen/calls/index.ts')).toContain('journal');
});

it('has an entry in the reference, with its example, and in the search page', () => {
  const page = inCopy('docs/reference/journal.md');
  expect(page).toContain('Counts what nobody counts');
  expect(page).toContain('/var/log/made-up');
  expect(inCopy('dist/reference/search.html')).toContain('journal_made_up');
});

it('changes nothing in other areas', () => {
  for (const path of OTHERS) expect(inCopy(path)).toBe(readFileSync(join(root, path), 'utf8'));
});
