/** The ledger of the durability tests finds what is missing, and permits what is not promised. */
import { describe, expect, it } from '@jest/globals';
import { Ledger, type State } from './ledger.js';

const write = (path: string, state: State) => ({ path, state, atomic: false });
const name = (path: string, state: State) => ({ path, state, atomic: true });
const files = (held: Readonly<Record<string, string>>) => new Map(Object.entries(held));

describe('the ledger', () => {
  it('requires what was changed before a promise', () => {
    const ledger = new Ledger(files({ '/old': 'o' }));
    ledger.change(1, [write('/a', 'one')]);
    ledger.promise(2);
    expect(ledger.compare(files({ '/old': 'o', '/a': 'one' }))).toEqual({
      faults: [],
      promised: 2,
      open: 0,
      newest: 0,
    });
    expect(ledger.compare(files({ '/a': 'two' })).faults).toEqual([
      '/old: no file, but content o was acknowledged',
      '/a: content two, but content one was acknowledged',
    ]);
  });

  it('permits anything for content that was changed since', () => {
    const ledger = new Ledger(files({ '/a': 'one' }));
    ledger.change(1, [write('/a', 'two')]);
    const possible: Record<string, string>[] = [{ '/a': 'one' }, { '/a': 'two' }, { '/a': 'half' }, {}];
    for (const held of possible) expect(ledger.compare(files(held)).faults).toEqual([]);
    expect(ledger.compare(files({ '/a': 'two' }))).toMatchObject({ open: 1, newest: 1 });
  });

  it('permits only complete states of a file whose name alone was changed', () => {
    const ledger = new Ledger(files({ '/a': 'one', '/b': 'two' }));
    ledger.change(1, [name('/a', undefined), name('/b', 'one')]);
    expect(ledger.compare(files({ '/b': 'one' })).faults).toEqual([]);
    expect(ledger.compare(files({ '/a': 'one', '/b': 'two' })).faults).toEqual([]);
    expect(ledger.compare(files({ '/b': 'half' })).faults).toEqual([
      '/b: content half, which it never was since the last promise',
    ]);
  });

  it('permits either state of a file whose change was not answered before a promise', () => {
    const ledger = new Ledger(files({ '/a': 'one', '/b': 'two' }));
    ledger.change(1, [name('/a', undefined)]);
    ledger.change(2, [name('/b', undefined)]);
    ledger.promise(3, new Set(['/b']));
    expect(ledger.compare(files({})).faults).toEqual([]);
    expect(ledger.compare(files({ '/b': 'two' })).faults).toEqual([]);
    expect(ledger.compare(files({ '/a': 'one' })).faults).toHaveLength(1);
  });

  it('considers what happened up to a position', () => {
    const ledger = new Ledger();
    ledger.change(1, [write('/a', 'one')]);
    ledger.promise(5);
    ledger.change(6, [name('/a', undefined)]);
    ledger.promise(9);
    expect(ledger.promises).toEqual([5, 9]);
    expect(ledger.compare(files({}), 4).faults).toEqual([]);
    expect(ledger.compare(files({}), 5).faults).toHaveLength(1);
    expect(ledger.compare(files({}), 8).faults).toEqual([]);
    expect(ledger.compare(files({ '/a': 'one' }), 9).faults).toHaveLength(1);
  });

  it('reports files that nobody made', () => {
    expect(new Ledger().compare(files({ '/x': 'y' })).faults).toEqual(['/x: nobody made this file']);
  });
});
