/** References to files in the documents are correct. */
import { describe, expect, test } from '@jest/globals';
import { dirname, join, normalize } from 'node:path';
import { exists, filesBelow, textOf } from './sourceTree.js';

/** Folders of the project that a quoted path can start with. */
const FOLDERS = [
  'src',
  'proto',
  'gen',
  'docs',
  'test',
  'scripts',
  'appliance-builder',
  'examples',
  'clients',
  'deploy',
  '.ci',
];

/** Files that exist only after set-up. */
const MADE_LATER = /^(gen\/proto|dist|images|node_modules)(\/|$)/;

const prose = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
  ...filesBelow('docs', '.md').filter((path) => dirname(path) === 'docs'),
].filter(exists);
const documents = [
  ...new Set([
    ...prose,
    ...filesBelow('docs', '.md'),
    ...filesBelow('appliance-builder', '.md'),
    ...filesBelow('clients', '.md'),
    ...filesBelow('test', '.md'),
  ]),
];

/** Paths of the project in a document's back-quotes; with a pattern or placeholder in them, up to it. */
function quotedPaths(text: string): string[] {
  const quoted = [...text.matchAll(/`([^`\s]+)`/g)].map(([, path = '']) =>
    path.replace(/^\.\//, '').replace(/:\d+$/, ''),
  );
  const ours = quoted.filter((path) => FOLDERS.some((folder) => path === folder || path.startsWith(`${folder}/`)));
  return ours
    .map((path) => (/[*<{A-Z]/.test(path) ? path.replace(/[^/]*[*<{].*$/, '') : path))
    .filter((path) => path !== '' && !MADE_LATER.test(path));
}

/** Targets of a document's links that are files, from the root. */
function linkedFiles(path: string): string[] {
  const text = textOf(path).replace(/^```.*?^```/gms, '');
  const targets = [...text.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)].map(([, target = '']) => target);
  const files = targets.filter((target) => !/^[a-z][a-z+.-]*:/i.test(target) && !target.startsWith('#'));
  return files.map((target) => normalize(join(dirname(path), decodeURI(target.replace(/#.*$/, '')))));
}

/** The anchors that GitHub generates for a document's headings. */
function anchorsOf(path: string): Set<string> {
  const headings = [
    ...textOf(path)
      .replace(/^```.*?^```/gms, '')
      .matchAll(/^#+ (.*)$/gm),
  ].map(([, title = '']) => title);
  return new Set(
    headings.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Links of a document to headings, its own or another's. */
function linkedHeadings(path: string): { document: string; anchor: string }[] {
  const text = textOf(path).replace(/^```.*?^```/gms, '');
  const targets = [...text.matchAll(/\]\(([^)\s:]*?)#([^)\s]+)\)/g)];
  return targets.map(([, file = '', anchor = '']) => ({
    document: file === '' ? path : normalize(join(dirname(path), file)),
    anchor,
  }));
}

describe('documents', () => {
  test.each(prose)('%s quotes paths that exist', (path) => {
    expect(quotedPaths(textOf(path)).filter((quoted) => !exists(quoted))).toEqual([]);
  });

  test('links refer to files that exist', () => {
    const broken = documents.flatMap((path) =>
      linkedFiles(path)
        .filter((target) => !exists(target))
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test('links refer to headings that exist', () => {
    const anchors = new Map(documents.map((path) => [path, anchorsOf(path)]));
    const broken = documents.flatMap((path) =>
      linkedHeadings(path)
        .filter(({ document, anchor }) => !anchors.get(document)?.has(anchor))
        .map(({ document, anchor }) => `${path}: ${document}#${anchor}`),
    );
    expect(broken).toEqual([]);
  });

  test('npm scripts that are named exist', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    const named = prose.flatMap((path) =>
      [...textOf(path).matchAll(/npm run ([a-z][a-z0-9:-]*)/g)].map(([, name = '']) => name),
    );
    expect([...new Set(named)].filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});
