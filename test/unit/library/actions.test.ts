import { expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { hasRpc } from '../../../src/actions/shape.js';
import { libraryActions } from '../../../src/library/index.js';

it('all library-side actions are implemented, except those that are refused, and no others', () => {
  const names = allActions
    .filter((action) => action.impl === 'library' && hasRpc(action) && action.notOverNetwork === undefined)
    .map((action) => action.name);
  expect(Object.keys(libraryActions).sort()).toEqual([...names].sort());
});
