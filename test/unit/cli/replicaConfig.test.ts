/** The configuration of a server that is one of several. */
import { hostname } from 'node:os';
import { describe, expect, it } from '@jest/globals';
import { readCommandLine, UsageError } from '../../../src/cli/commandLine.js';
import { replicaConfig, type ReplicaConfig } from '../../../src/cli/replicaConfig.js';
import { isReplicaId } from '../../../src/server/replicas/sessionIds.js';
import { inEnvironment } from './environment.js';

function read(args: readonly string[], hasIdentities = false): ReplicaConfig {
  const line = inEnvironment({}, () => readCommandLine(args));
  if ('text' in line) throw new Error('no flags');
  return replicaConfig(line.flags, hasIdentities);
}

const KEYED = ['--session-key', 'k'];
const TLS = ['--tls-cert', 'c', '--tls-key', 'k', '--client-ca', 'a'];

describe('a replica', () => {
  it('is alone by default', () => {
    const config = read([]);
    expect(config).toMatchObject({ sessionKey: undefined, peers: undefined, forward: false, identities: [] });
    expect(isReplicaId(config.id)).toBe(true);
  });

  it.each([
    [[], '127.0.0.1:7', '127.0.0.1:7'],
    [[], '0.0.0.0:7', `${hostname()}:7`],
    [[], '[::]:7', `${hostname()}:7`],
    [[], 'unix:/run/x', 'unix:/run/x'],
    [['--advertise', 'r1.svc:9'], '0.0.0.0:7', 'r1.svc:9'],
  ])('with %j, on %s, advertises %s', (args, listening, advertised) => {
    expect(read(args).advertised(listening)).toBe(advertised);
  });

  it.each([
    ['dns:guestfs.prod.svc:50051', { kind: 'dns', host: 'guestfs.prod.svc', port: 50_051 }],
    ['/etc/peers', { kind: 'file', path: '/etc/peers' }],
    ['127.0.0.1:1,[::1]:2,unix:/run/x', { kind: 'list', addresses: ['127.0.0.1:1', '[::1]:2', 'unix:/run/x'] }],
  ])('finds the others at %s', (peers, source) => {
    const insecure = ['--insecure-listen'];
    expect(read([...KEYED, ...insecure, '--peers', peers]).peers).toEqual(source);
  });

  it.each(['dns:svc', 'svc', 'a:1,b', 'dns:', ''])('does not find them at %j', (peers) => {
    expect(() => read([...KEYED, '--peers', peers])).toThrow(UsageError);
  });

  it.each<[readonly string[], boolean, string]>([
    [['--forward'], false, '--forward needs --peers'],
    [['--peers', '127.0.0.1:1'], false, '--peers needs --session-key'],
    [['--peer-identities', 'cn:x'], false, '--peer-identities needs --peers'],
    [[...KEYED, '--peers', '127.0.0.1:1', '--peer-identities', 'cn:x'], true, '--peer-identities needs --client-ca'],
    [[...KEYED, ...TLS, '--peers', 'h:1'], true, '--peers needs --client-ca and --peer-identities'],
    [[...KEYED, '--listen', 'unix:/x', '--peers', 'unix:/y'], true, '--peers needs --peer-identities'],
    [[...KEYED, '--peers', 'h:1'], false, 'other machines can be there'],
    [[...KEYED, '--peers', '/etc/peers'], false, 'other machines can be there'],
    [[...KEYED, '--peers', 'dns:svc:1'], false, 'other machines can be there'],
  ])('%j is refused', (args, hasIdentities, why) => {
    expect(() => read(args, hasIdentities)).toThrow(why);
  });

  it.each<[readonly string[], boolean]>([
    [[...KEYED, ...TLS, '--peers', 'dns:svc:1', '--peer-identities', 'dns:*.svc', '--forward'], true],
    [[...KEYED, '--listen', 'unix:/x', '--peers', 'unix:/y', '--peer-identities', 'uid:7'], true],
    [[...KEYED, '--peers', '127.0.0.1:1', '--forward'], false],
    [[...KEYED, '--peers', '127.0.0.1:1', '--jwt-keys', 'k', '--jwt-issuer', 'i', '--jwt-audience', 'a'], true],
  ])('%j is complete', (args, hasIdentities) => {
    expect(read(args, hasIdentities).sessionKey).toBe('k');
  });
});
