/** The languages of `npm run test:clients`: each template and each example belongs to one, and so does each row of docs/clients.md. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { root, textOf } from '../../architecture/sourceTree.js';

interface Language {
  readonly name: string;
  readonly title: string;
  readonly template?: string;
  readonly packages?: readonly string[];
  readonly absent?: string;
}
interface Table {
  readonly languages: readonly Language[];
  choose(names: readonly string[]): { readonly asked: readonly Language[]; readonly unknown: readonly string[] };
}

const script = (path: string): Promise<unknown> => import(pathToFileURL(join(root, 'scripts', path)).href);
const { languages, choose } = (await script('clients/languages.mjs')) as Table;
const { builds } = (await script('clients/builds.mjs')) as { readonly builds: Readonly<Record<string, unknown>> };
const { packagesFor } = (await script('packages.mjs')) as {
  packagesFor(purposes: readonly string[]): readonly object[];
};

const built = languages.filter(({ absent }) => absent === undefined);

describe('the languages of npm run test:clients', () => {
  it('are those of the templates', () => {
    const templates = readdirSync(join(root, 'proto')).flatMap(
      (name) => /^buf\.gen\.([a-z]+)\.yaml$/.exec(name)?.[1] ?? [],
    );
    const named = languages.flatMap(({ template }) => template ?? []);
    expect([...named].sort()).toEqual(templates.sort());
  });

  it('have the examples that do the same', () => {
    const output = /received the same 8 MiB/;
    const programs = readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' }).filter(
      (path) => /\/(drive|main)\.[a-z]+$/i.test(path) && output.test(textOf(`examples/${path}`)),
    );
    const folders = new Set(programs.map((path) => path.split('/')[0] ?? ''));
    expect([...folders].sort()).toEqual(built.map(({ name }) => name).sort());
    expect(Object.keys(builds).sort()).toEqual(built.map(({ name }) => name).sort());
  });

  it('name packages that are listed', () => {
    for (const purpose of languages.flatMap(({ packages = [] }) => packages))
      expect(packagesFor([purpose]).length).toBeGreaterThan(0);
  });

  it('are all asked for, unless some are named', () => {
    expect(choose([])).toEqual({ asked: languages, unknown: [] });
    const { asked, unknown } = choose(['rust', 'cobol', 'cpp']);
    expect(asked.map(({ name }) => name).sort()).toEqual(['cpp', 'rust']);
    expect(unknown).toEqual(['cobol']);
  });
});

describe('docs/clients.md', () => {
  const [, section = ''] = textOf('docs/clients.md').split('## Stubs side by side\n');
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| language') && !line.startsWith('| ---'))
    .map((line) => line.split('|').map((cell) => cell.trim()));

  it('has a row for each language', () => {
    expect(rows.map(([, title]) => title).sort()).toEqual(languages.map(({ title }) => title).sort());
  });

  it.each(languages.map((language) => [language.title, language] as const))(
    'says of %s where its stubs and its example are, or what is missing',
    (title, { name, template, absent }) => {
      const row = rows.find((cells) => cells[1] === title)?.join(' | ') ?? '';
      if (template !== undefined) expect(row).toContain(`../proto/buf.gen.${template}.yaml`);
      if (absent === undefined) expect(row).toContain(`../examples/${name}`);
      else expect(row).toContain(absent);
      expect(existsSync(join(root, 'examples', name))).toBe(absent === undefined);
    },
  );
});
