import { describe, expect, it } from '@jest/globals';
import { parsePolicy, PolicyFileError } from '../../../src/security/policyFile.js';
import { matchesWildcard } from '../../../src/security/wildcard.js';

const problem = (text: string): string => {
  try {
    parsePolicy(text);
  } catch (error) {
    if (error instanceof PolicyFileError) return error.message;
    throw error;
  }
  throw new Error('the policy is accepted');
};

describe('a policy file', () => {
  it('is YAML, or JSON, and has defaults', () => {
    const whole = {
      roles: { reader: { calls: ['all'], except: [], permissions: [], images: [], limits: {} } },
      identities: [{ match: ['uri:spiffe://mesh/*'], role: 'reader' }],
    };
    const yaml = 'roles:\n  reader: {}\nidentities:\n  - match: ["uri:spiffe://mesh/*"]\n    role: reader\n';
    expect(parsePolicy(yaml)).toEqual(whole);
    expect(parsePolicy(JSON.stringify({ ...whole, roles: { reader: {} } }))).toEqual(whole);
  });

  it.each([
    ['an unknown key', 'roles: { a: { cals: [] } }\nidentities: []', /^roles\.a: .*"cals"/],
    ['an unknown key at the top', 'roles: {}\nidentities: []\ndefault: a', /"default"/],
    ['an unknown limit', 'roles: { a: { limits: { gpus: 3 } } }\nidentities: []', /^roles\.a\.limits: .*"gpus"/],
    [
      'a call that there is not',
      'roles: { a: { calls: [mkdirr] } }\nidentities: []',
      /^roles\.a\.calls\[0\]: 'mkdirr'/,
    ],
    ['an unknown permission', 'roles: { a: { permissions: [root] } }\nidentities: []', /^roles\.a\.permissions\[0\]/],
    ['an unknown access', 'roles: { a: { images: [{ path: x, access: rw }] } }\nidentities: []', /images\[0\]\.access/],
    [
      'a role that there is not',
      'roles: {}\nidentities: [{ match: ["cn:x"], role: a }]',
      /^identities\[0\]\.role: .*'a'/,
    ],
    [
      'a pattern without a kind',
      'roles: { a: {} }\nidentities: [{ match: ["cn:x", "*"], role: a }]',
      /^identities\[0\]\.match\[1\]: '\*' names no kind/,
    ],
    ['the same key twice', 'roles: {}\nroles: {}\nidentities: []', /unique/],
    ['a key that is a list', 'roles: { [a, b]: {} }\nidentities: []', /keys must be strings/i],
    ['broken YAML', 'roles: [', /./],
    ['an alias', 'roles: { a: &a {}, b: *a }\nidentities: []', /alias/i],
    ['nothing', '', /./],
    ['a role of the prototype', 'roles: {}\nidentities: [{ match: ["cn:x"], role: toString }]', /no role 'toString'/],
  ])('with %s is refused', (_what, text, message) => {
    expect(problem(text)).toMatch(message);
  });
});

describe('a pattern', () => {
  it.each([
    ['cn:build', 'cn:build', true],
    ['cn:build', 'cn:build2', false],
    ['cn:*', 'cn:', true],
    ['uri:spiffe://mesh/ns/*/sa/build', 'uri:spiffe://mesh/ns/prod/sa/build', true],
    ['uri:spiffe://mesh/ns/*/sa/build', 'uri:spiffe://mesh/ns/prod/sa/other', false],
    ['cn:a*b*c', 'cn:aXbYbZc', true],
    ['cn:a*b*c', 'cn:acb', false],
    ['cn:ab*ba', 'cn:aba', false],
    ['cn:a.c', 'cn:abc', false],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(matchesWildcard(pattern, text)).toBe(expected);
  });

  it('takes linear time', () => {
    const started = performance.now();
    matchesWildcard(`cn:${'a*'.repeat(40)}b`, `cn:${'a'.repeat(2000)}`);
    expect(performance.now() - started).toBeLessThan(50);
  });
});
