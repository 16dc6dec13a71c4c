/** The search page: the complete reference in one file, with a script that searches it. */
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { areas } from '../../../src/actions/areas.js';
import { emitSearchPage } from '../../../src/generator/emitSearchPage.js';
import { entriesOf } from '../../../src/generator/entry.js';

const page = emitSearchPage(areas);
const entries = areas.filter(({ service }) => service !== undefined).flatMap(entriesOf);
const articles = new Map(
  [...page.matchAll(/<article id="([^"]+)">(.*?)<\/article>/gs)].map(([, id = '', body = '']) => [id, body]),
);

/** The visible text. */
const textOf = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&');
/** The same of a text with code in backquotes. */
const plain = (text: string): string => text.replaceAll('`', '');

describe('the search page', () => {
  it('has every entry, completely', () => {
    expect([...articles.keys()].sort()).toEqual(entries.map(({ name }) => name).sort());
    expect(articles.has('Inspect')).toBe(true);
    for (const {
      name,
      rpc,
      signature,
      summary,
      description,
      facts,
      fields,
      errors = [],
      example,
      deprecated = '',
    } of entries) {
      const text = textOf(articles.get(name) ?? '');
      for (const part of [
        rpc + signature,
        `${summary}. ${description}`,
        ...facts,
        ...fields.map(({ comment }) => comment),
        ...errors.map(({ when }) => when),
        deprecated,
      ]) {
        expect(text).toContain(plain(part));
      }
      expect(text).toContain(example);
    }
  });

  it('links only to itself, and to existing entries', () => {
    const targets = [...page.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, target = '']) => target);
    expect(targets.length).toBeGreaterThan(entries.length);
    expect(targets.filter((target) => !target.startsWith('#') || !articles.has(target.slice(1)))).toEqual([]);
  });
});

/** The parts of a browser that the script needs. */
class FakeBrowser {
  readonly articles = [...articles].map(([id, html]) => ({ id, textContent: textOf(html), hidden: false }));
  readonly list = { append: (...sorted: { id: string }[]): void => void (this.order = sorted.map(({ id }) => id)) };
  readonly count = { textContent: '' };
  readonly location: { hash: string };
  readonly box = {
    value: '',
    addEventListener: (_event: string, act: () => void): void => void (this.input = act),
  };
  order: string[] = [];
  input: () => void = () => undefined;
  followed: () => void = () => undefined;

  constructor(hash: string) {
    this.location = { hash };
    const script = /<script>(.*)<\/script>/s.exec(page)?.[1] ?? '';
    runInNewContext(script, {
      document: {
        querySelector: (name: string) => ({ main: this.list, input: this.box, output: this.count })[name],
        querySelectorAll: () => this.articles,
      },
      location: this.location,
      history: { replaceState: (_state: unknown, _title: string, url: string) => void (this.location.hash = url) },
      addEventListener: (_event: string, act: () => void) => void (this.followed = act),
    });
  }

  get shown(): string[] {
    return this.articles
      .filter(({ hidden }) => !hidden)
      .map(({ id }) => id)
      .sort();
  }
}

describe('its script', () => {
  it('shows everything initially', () => {
    const browser = new FakeBrowser('');
    expect(browser.shown).toHaveLength(entries.length);
    expect(browser.count.textContent).toBe(`${entries.length} of ${entries.length}`);
  });

  it('shows entries with all words, the best first, and keeps the words in the address', () => {
    const browser = new FakeBrowser('');
    browser.box.value = 'LVM  resize';
    browser.input();
    expect(browser.shown).toContain('lvresize');
    expect(browser.shown).not.toContain('mkdir');
    expect(browser.order.slice(0, 8)).toContain('lvresize');
    expect(browser.location.hash).toBe('#LVM%20%20resize');
    expect(new FakeBrowser('#lvm%20resize').shown).toEqual(browser.shown);
  });

  it('follows links to entries, and shows the one with that name first', () => {
    const browser = new FakeBrowser('#mount');
    expect(browser.order[0]).toBe('mount');
    browser.location.hash = '#Inspect';
    browser.followed();
    expect(browser.order[0]).toBe('Inspect');
  });

  it('finds the names of errors', () => {
    expect(new FakeBrowser('#KVM_UNUSABLE').shown).toEqual(['launch']);
  });
});
