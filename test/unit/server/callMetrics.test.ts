/** The labels of metrics of calls: few, whoever tries to make more. */
import { describe, expect, it } from '@jest/globals';
import { reasonLabel } from '../../../src/server/callMetrics.js';
import { KIND_LABELS, kindLabel } from '../../../src/server/identityKinds.js';

describe('a reason', () => {
  it.each(['ENOENT', 'EUCLEAN', 'BAD_ARGUMENT', 'DAEMON_ERROR', 'OK', 'NOT_FOUND'])(
    'is its own label: %s',
    (reason) => {
      expect(reasonLabel(reason)).toBe(reason);
    },
  );

  it.each(['EXYZ', 'E0', `E${'A'.repeat(30)}`])(
    'that only a hostile appliance can have made up is not: %s',
    (reason) => {
      expect(reasonLabel(reason)).toBe('EOTHER');
    },
  );
});

describe('an identity', () => {
  it.each([
    [undefined, 'none'],
    ['cn:build', 'cn'],
    ['uri:spiffe://mesh/x', 'uri'],
    ['sub:x:y', 'sub'],
    ['uid:0', 'uid'],
    ['replica:one', 'other'],
    ['unknown', 'other'],
  ])('counts as its kind: %s', (identity, label) => {
    expect(kindLabel(identity)).toBe(label);
    expect(KIND_LABELS).toContain(label);
  });
});
