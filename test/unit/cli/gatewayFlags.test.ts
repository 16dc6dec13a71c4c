/** The command line of the gateway. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { gatewayFlags } from '../../../src/cli/gateway.js';
import { GATEWAY_FLAGS } from '../../../src/cli/gatewayFlags.js';

const read = (...args: readonly string[]) => gatewayFlags(args, 'guestfs-grpc gateway');
const variable = (name: string): string => `GUESTFS_GRPC_GATEWAY_${name}`;
afterEach(() => {
  for (const { envVar = '' } of GATEWAY_FLAGS) delete process.env[envVar];
});

describe('the flags of the gateway', () => {
  it('have defaults', () => {
    expect(read()).toEqual({
      listen: '127.0.0.1:8080',
      insecureListen: false,
      server: '127.0.0.1:50051',
      allowOrigin: [],
      allowHost: [],
      maxConnections: 256,
      maxCallsPerClient: 64,
      stallTimeout: 30,
      drainDelay: 0,
      drainGrace: 10,
      logLevel: 'info',
    });
  });

  it('come from the command line or the environment', () => {
    process.env[variable('ALLOW_ORIGIN')] = 'https://a.example,http://localhost:3000';
    process.env[variable('INSECURE_LISTEN')] = '1';
    process.env[variable('LISTEN')] = '';
    expect(read('--allow-host', 'A.example', '--allow-host', 'b.example', '--max-connections', '7')).toMatchObject({
      listen: '127.0.0.1:8080',
      insecureListen: true,
      allowOrigin: ['https://a.example', 'http://localhost:3000'],
      allowHost: ['a.example', 'b.example'],
      maxConnections: 7,
    });
    process.env[variable('INSECURE_LISTEN')] = 'perhaps';
    expect(() => read()).toThrow(/INSECURE_LISTEN: perhaps is not a boolean/);
  });

  it.each([
    [['--listen', 'unix:/a'], /HOST:PORT/],
    [['--server', 'systemd'], /HOST:PORT or unix/],
    [['--allow-origin', '*'], /origin as browsers write it/],
    [['--allow-origin', 'https://a.example/'], /origin as browsers write it/],
    [['--allow-origin', 'null'], /origin as browsers write it/],
    [['--allow-host', 'a.example:80'], /without a port/],
    [['--max-calls-per-client', '0'], /at least 1/],
    [['--metrics-listen', '9090'], /HOST:PORT/],
    [['--drain-delay', '-1'], /whole number/],
    [['--nonsense'], /unknown option/],
    [['--listen', '0.0.0.0:8080'], /--listen 0\.0\.0\.0:8080: other machines can connect there, and without TLS/],
    [['--server', 'server.example:50051'], /--server server\.example:50051: .*--server-ca/],
    [['--tls-cert', 'a.pem'], /--tls-cert and --tls-key need each other/],
    [['--server-cert', 'a.pem'], /--server-cert and --server-key need each other/],
    [['--server-cert', 'a.pem', '--server-key', 'a.key'], /--server-cert needs --server-ca/],
    [['--client-ca', 'ca.pem'], /--client-ca needs --tls-cert/],
    [['--tls-cert', 'a', '--tls-key', 'b', '--client-ca', 'c'], /--client-ca needs --server-cert or --server unix/],
    [['--server', 'unix:/a', '--server-ca', 'ca.pem'], /no TLS on a Unix socket/],
  ])('refuses %j', (args, expected) => {
    expect(() => read(...args)).toThrow(expected);
  });

  it.each([
    [['--listen', '0.0.0.0:8080', '--insecure-listen']],
    [['--listen', '0.0.0.0:8443', '--tls-cert', 'a', '--tls-key', 'b']],
    [['--server', 'unix:/a', '--tls-cert', 'a', '--tls-key', 'b', '--client-ca', 'c']],
  ])('accepts %j', (args) => {
    expect(read(...args)).toBeDefined();
  });
});
