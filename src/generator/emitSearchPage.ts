/**
 * The search page of the reference: one self-contained page with all entries. It can be read and
 * linked to without its script, which merely hides the entries that do not match.
 */
import type { AreaDef } from '../actions/areas.js';
import { entriesOf, typeOf, type Entry } from './entry.js';

const SCRIPT = `
const list = document.querySelector('main');
const box = document.querySelector('input');
const count = document.querySelector('output');
const entries = [...document.querySelectorAll('article')].map((article) => ({
  article, name: article.id.toLowerCase(), text: article.textContent.toLowerCase(),
}));
/** How well an entry matches, best first: by its exact name, by part of its name, or by its text. */
function rank({ name }, sought, words) {
  if (name === sought) return 0;
  return words.some((word) => name.includes(word)) ? 1 : 2;
}
function search() {
  const sought = box.value.trim().toLowerCase();
  const words = sought.split(/\\s+/).filter(Boolean);
  const hits = entries.filter(({ article, text }) => !(article.hidden = !words.every((word) => text.includes(word))));
  hits.sort((a, b) => rank(a, sought, words) - rank(b, sought, words) || (a.name < b.name ? -1 : 1));
  list.append(...hits.map(({ article }) => article));
  count.textContent = hits.length + ' of ' + entries.length;
}
/** The fragment of the URL, after "#", is the search: the name of an entry, or any words. */
function follow() {
  box.value = decodeURIComponent(location.hash.slice(1));
  search();
}
box.addEventListener('input', () => {
  history.replaceState(null, '', '#' + encodeURIComponent(box.value));
  search();
});
addEventListener('hashchange', follow);
follow();
`;

const STYLE = `
body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }
header { background: #fff; padding: .5em 0; position: sticky; top: 0; }
input { font: inherit; padding: .4em; width: 60%; }
article { border-top: 1px solid #ccc; padding: .6em 0; scroll-margin-top: 4em; }
h2 { font-size: 1.1em; margin: .2em 0; }
h2 small { color: #555; font-weight: normal; margin-left: 1em; }
p { margin: .2em 0; }
table { border-collapse: collapse; margin: .4em 0; }
td, th { border: 1px solid #ccc; padding: .1em .5em; text-align: left; vertical-align: top; }
pre { background: #f4f4f4; overflow-x: auto; padding: .5em; }
`;

const SPECIAL: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Escapes text for HTML. */
function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => SPECIAL[character] ?? character);
}

/** The same, with text in backquotes as code, and names of entries as links to them. */
function prose(text: string, names: ReadonlySet<string>): string {
  const link = (name: string, shown: string): string => (names.has(name) ? `<a href="#${name}">${shown}</a>` : shown);
  // A word with an underscore is a name; other words are names only if they are code.
  return escaped(text).replace(/`([^`]+)`|\b[a-z][A-Za-z0-9]*_\w+\b/g, (word, code?: string) =>
    code === undefined ? link(word, word) : link(code, `<code>${code}</code>`),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  return `<table><tr>${head.map((cell) => `<th>${cell}</th>`).join('')}</tr>\n${rows.map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>\n`).join('')}</table>\n`;
}

function article(entry: Entry, names: ReadonlySet<string>): string {
  const { name, service, rpc, deprecated, summary, description, signature, facts, guides, fields, errors, example } =
    entry;
  const text = (words: string): string => prose(words, names);
  const items = [
    ...facts.map(text),
    ...guides.map((guide) => `${text(guide.text)}: <code>${escaped(guide.path)}</code>`),
  ];
  return (
    `<article id="${name}">\n<h2><a href="#${name}">${name}</a><small>${service}/${rpc}</small></h2>\n` +
    `<p><code>${escaped(`${rpc}${signature}`)}</code></p>\n` +
    `<p>${deprecated === undefined ? '' : `<strong>${text(deprecated)}</strong> `}${text(`${summary}. ${description}`)}</p>\n` +
    `<ul>\n${items.map((item) => `<li>${item}</li>\n`).join('')}</ul>\n` +
    table(
      ['field', 'type', ''],
      fields.map((field) => [`<code>${field.name}</code>`, escaped(typeOf(field)), text(field.comment)]),
    ) +
    (errors?.length === 0 ? '<p>No errors but those of any call.</p>\n' : '') +
    table(
      ['error', 'reason', 'when'],
      (errors ?? []).map(({ status, reason, when }) => [status, reason, text(when)]),
    ) +
    `<pre>${escaped(example)}</pre>\n</article>\n`
  );
}

/** dist/reference/search.html */
export function emitSearchPage(areas: readonly AreaDef[]): string {
  const entries = areas
    .filter((area) => area.service !== undefined)
    .flatMap(entriesOf)
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  const names = new Set(entries.map(({ name }) => name));
  return `<!DOCTYPE html>
<!-- Generated by "npm run generate" from src/actions; do not edit. -->
<html lang="en">
<meta charset="utf-8">
<title>guestfs-grpc: reference</title>
<style>${STYLE}</style>
<h1>Reference</h1>
<header><input type="search" autofocus placeholder="words to search for, such as: lvm resize"> <output></output></header>
<main>
${entries.map((entry) => article(entry, names)).join('\n')}</main>
<script>${SCRIPT}</script>
</html>
`;
}
