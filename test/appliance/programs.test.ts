import { describe, expect, it } from '@jest/globals';

import { librariesOf } from '../../appliance-builder/programs.js';

describe('librariesOf', () => {
  const depends =
    'libc6 (>= 2.34), libnetpbm11t64 (= 2:11.10.02-1), libpng16-16t64 | libpng16-16 (>= 1.6.46), libpng-tools:any, zlib1g';

  it('finds packages whose names have a version of the library', () => {
    expect(librariesOf(depends, ['libpng', 'libnetpbm'])).toEqual(['libpng16-16t64', 'libnetpbm11t64']);
    expect(librariesOf(depends, [])).toEqual([]);
  });

  it('names a missing library', () => {
    expect(() => librariesOf(depends, ['libnetpb'])).toThrow('no libnetpb among the dependencies');
  });
});
