import { describe, expect, it } from '@jest/globals';
import { ImageClaims, ImageUses, type ImageUse } from '../../../src/images/imageUses.js';

const image = { identity: 'file 1:2' };
const other = { identity: 'file 1:3' };
const USES: readonly ImageUse[] = ['raw read', 'raw write', 'format read', 'format write', 'create'];

function together(first: ImageUse, second: ImageUse): boolean {
  const uses = new ImageUses();
  uses.begin(image, first, 'it');
  try {
    uses.begin(image, second, 'it');
    return true;
  } catch (error) {
    expect(error).toMatchObject({ reason: 'IMAGE_LOCKED' });
    return false;
  }
}

describe('uses of one image', () => {
  const refused = [
    ['raw write', 'format read'],
    ['raw write', 'format write'],
    ['raw write', 'create'],
    ['format read', 'create'],
    ['format write', 'create'],
    ['create', 'create'],
  ] as const;

  it.each(USES.flatMap((first) => USES.map((second) => [first, second] as const)))(
    '%s and %s are compatible unless one could change what the other parses',
    (first, second) => {
      const expected = !refused.some(
        ([one, two]) => (one === first && two === second) || (one === second && two === first),
      );
      expect(together(first, second)).toBe(expected);
    },
  );

  it('apply to that image only, and end', () => {
    const uses = new ImageUses();
    const end = uses.begin(image, 'raw write', 'it');
    uses.begin(other, 'format read', 'another');
    expect(() => uses.begin(image, 'format read', "image 'a'")).toThrow(
      "image 'a' cannot be used now: it is written as a raw drive by a session of this server",
    );
    end();
    end();
    uses.begin(image, 'format read', 'it');
  });
});

describe('claims', () => {
  it('are released by drive, and all at once', async () => {
    const uses = new ImageUses();
    const claims = new ImageClaims(uses);
    claims.claim('drive0', image, 'raw write', 'it');
    claims.claim('drive1', other, 'raw write', 'another');
    await claims.release('drive0');
    const later = new ImageClaims(uses);
    later.claim('drive0', image, 'format read', 'it');
    expect(() => later.claim('drive1', other, 'format read', 'another')).toThrow('cannot be used now');
    await claims.releaseAll();
    later.claim('drive1', other, 'format read', 'another');
  });

  it('of all machines of the server are checked against each other', async () => {
    const mine = new ImageClaims();
    mine.claim('drive0', image, 'raw write', 'it');
    expect(() => new ImageClaims().claim('drive0', image, 'format read', 'it')).toThrow('cannot be used now');
    await mine.releaseAll();
  });
});
