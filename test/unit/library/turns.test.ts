import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { hasRpc } from '../../../src/actions/shape.js';
import { libraryActions } from '../../../src/library/index.js';
import { needsTurn } from '../../../src/library/turns.js';

const names = allActions.filter((action) => action.impl === 'library' && hasRpc(action)).map((action) => action.name);

describe('the library-side actions', () => {
  it('are all there, and no others', () => {
    expect(Object.keys(libraryActions).sort()).toEqual([...names].sort());
  });

  it('take turns only if they exist', () => {
    expect([...needsTurn].filter((name) => !names.includes(name))).toEqual([]);
  });

  it('that are for state CONFIG take no turn, which only state READY has', () => {
    expect(allActions.filter((action) => action.configOnly && needsTurn.has(action.name))).toEqual([]);
  });
});
