/** Documents that the server reads: manifests of appliances, and policy files. */
import { parseManifest } from '../../../src/appliance/manifest.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { parsePolicy, PolicyFileError } from '../../../src/security/policyFile.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';

const PATH = '/appliance/manifest.json';

function checkManifest(text: string): void {
  const manifest = unlessRefused([GuestfsError], () => turn(() => parseManifest(text, PATH)));
  if (manifest === undefined) return;
  for (const size of manifest.sizes.values()) ensure(typeof size === 'number', 'a size is not a number');
  for (const sum of manifest.checksums.values()) ensure(typeof sum === 'string', 'a checksum is not a string');
}

function checkPolicy(text: string): void {
  const policy = unlessRefused([PolicyFileError], () => turn(() => parsePolicy(text)));
  if (policy === undefined) return;
  for (const { role } of policy.identities)
    ensure(Object.hasOwn(policy.roles, role), 'the role of an identity does not exist');
  const json = JSON.stringify(policy);
  ensure(JSON.stringify(parsePolicy(json)) === json, 'a policy means something else as JSON');
}

const MANIFEST = JSON.stringify({
  formatVersion: 1,
  suite: 'trixie',
  architecture: 'x86_64',
  daemonVersion: '1.54.1',
  files: { kernel: { size: 1, sha256: '00' }, root: { size: 4096 } },
});
const POLICY = `roles:
  reader: { calls: [read], except: [Mount], images: [{ path: '{identity}', access: read }], limits: { sessions: 2 } }
  admin: {}
identities:
  - match: ["uri:spiffe://mesh/*", 'cn:x']
    role: reader
`;
const POLICY_JSON = '{"roles":{"a":{"permissions":["network"]}},"identities":[{"match":["sub:*"],"role":"a"}]}';

export const documents: Target = {
  name: 'documents',
  about: 'manifests of appliances, and policy files',
  longest: 1024,
  // Both come from the operator, who has no reason to keep the server busy.
  stretched: 1024,
  seeds: () => [Buffer.from(`0${MANIFEST}`), ...[POLICY, POLICY_JSON].map((text) => Buffer.from(`1${text}`))],
  run(input) {
    const text = input.subarray(1).toString('utf8');
    if (((input[0] ?? 0) & 1) === 0) checkManifest(text);
    else checkPolicy(text);
  },
};
