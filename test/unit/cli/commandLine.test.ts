import { describe, expect, it } from '@jest/globals';
import { readCommandLine, UsageError, type ServerCommandLine } from '../../../src/cli/commandLine.js';
import { FLAGS, type Flags } from '../../../src/cli/flags.js';
import { SERVER_VERSION } from '../../../src/common/version.js';
import { inEnvironment } from './environment.js';

function read(args: readonly string[], environment: NodeJS.ProcessEnv = {}): ServerCommandLine {
  const line = inEnvironment(environment, () => readCommandLine(args));
  if ('text' in line) throw new Error(`a text in the place of flags: ${line.text}`);
  return line;
}

/** What is wrong with an invocation. */
function refusal(args: readonly string[], environment: NodeJS.ProcessEnv = {}): string {
  try {
    read(args, environment);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`${args.join(' ')} is not refused`);
}

const DEFAULTS: Flags = {
  listen: '127.0.0.1:50051',
  socketMode: '600',
  insecureListen: false,
  insecureIsolation: false,
  forward: false,
  imageRoot: ['images'],
  accel: 'auto',
  launch: 'template',
  pool: 0,
  memsize: 1280,
  smp: 1,
  maxSessions: 64,
  requestMemory: 512,
  idleTimeout: 3600,
  drainDelay: 0,
  drainGrace: 60,
  unresponsiveTimeout: 60,
  maxIdleTimeout: 86_400,
  maxSessionAge: 0,
  maxMemoryPerClient: 0,
  maxCpusPerClient: 0,
  maxDrivesPerClient: 0,
  maxDiskBytesPerClient: 0,
  maxConnections: 1024,
  maxCallsPerClient: 1000,
  connectionIdleTimeout: 300,
  maxCallsPerConnection: 250,
  maxConnectionAge: 0,
  maxConnectionAgeGrace: 0,
  keepaliveInterval: 30,
  keepaliveTimeout: 20,
  stallTimeout: 30,
  abandonedCallTimeout: 300,
  identityKinds: ['uri', 'dns', 'cn', 'sha256'],
  debugService: false,
  allow: [],
  logLevel: 'info',
  trace: false,
};

/** For each flag with a value: two possible values, and their meaning. */
const VALUES: readonly (readonly [flag: string, key: keyof Flags, first: string, means: unknown, second: string])[] = [
  ['listen', 'listen', '0.0.0.0:1', '0.0.0.0:1', '[::1]:2'],
  ['socket-mode', 'socketMode', '660', '660', '640'],
  ['image-root', 'imageRoot', '/a', ['/a'], '/b'],
  ['appliance', 'appliance', '/appliance', '/appliance', '/other'],
  ['accel', 'accel', 'tcg', 'tcg', 'kvm'],
  ['launch', 'launch', 'cold', 'cold', 'template'],
  ['pool', 'pool', '3', 3, '4'],
  ['memsize', 'memsize', '700', 700, '800'],
  ['smp', 'smp', '2', 2, '255'],
  ['max-sessions', 'maxSessions', '9', 9, '10'],
  ['request-memory', 'requestMemory', '8', 8, '2047'],
  ['idle-timeout', 'idleTimeout', '0', 0, '5'],
  ['max-memsize', 'maxMemsize', '800', 800, '900'],
  ['max-smp', 'maxSmp', '8', 8, '9'],
  ['drain-delay', 'drainDelay', '5', 5, '6'],
  ['drain-grace', 'drainGrace', '0', 0, '25'],
  ['max-idle-timeout', 'maxIdleTimeout', '0', 0, '60'],
  ['max-session-age', 'maxSessionAge', '60', 60, '70'],
  ['max-sessions-per-client', 'maxSessionsPerClient', '5', 5, '6'],
  ['max-memory-per-client', 'maxMemoryPerClient', '0', 0, '6'],
  ['max-cpus-per-client', 'maxCpusPerClient', '0', 0, '6'],
  ['max-drives-per-client', 'maxDrivesPerClient', '0', 0, '6'],
  ['max-disk-bytes-per-client', 'maxDiskBytesPerClient', '0', 0, '6'],
  ['max-connections', 'maxConnections', '5', 5, '6'],
  ['max-calls-per-client', 'maxCallsPerClient', '5', 5, '6'],
  ['connection-idle-timeout', 'connectionIdleTimeout', '0', 0, '6'],
  ['max-calls-per-connection', 'maxCallsPerConnection', '5', 5, '6'],
  ['max-connection-age', 'maxConnectionAge', '5', 5, '0'],
  ['max-connection-age-grace', 'maxConnectionAgeGrace', '5', 5, '0'],
  ['keepalive-interval', 'keepaliveInterval', '5', 5, '0'],
  ['keepalive-timeout', 'keepaliveTimeout', '5', 5, '6'],
  ['stall-timeout', 'stallTimeout', '5', 5, '6'],
  ['abandoned-call-timeout', 'abandonedCallTimeout', '5', 5, '6'],
  ['unresponsive-timeout', 'unresponsiveTimeout', '0', 0, '6'],
  ['tls-cert', 'tlsCert', 'c.pem', 'c.pem', 'd.pem'],
  ['tls-key', 'tlsKey', 'c.key', 'c.key', 'd.key'],
  ['client-ca', 'clientCa', 'ca.pem', 'ca.pem', 'cb.pem'],
  ['identity-kinds', 'identityKinds', 'uri,dns', ['uri', 'dns'], 'cn'],
  ['jwt-keys', 'jwtKeys', 'keys.json', 'keys.json', 'other.json'],
  ['jwt-issuer', 'jwtIssuer', 'https://issuer', 'https://issuer', 'other'],
  ['jwt-audience', 'jwtAudience', 'guestfs', 'guestfs', 'other'],
  ['xfcc-peers', 'xfccPeers', 'dns:envoy.*,cn:x', ['dns:envoy.*', 'cn:x'], 'cn:other'],
  ['session-key', 'sessionKey', 'keys', 'keys', 'other'],
  ['replica-id', 'replicaId', 'r-1', 'r-1', 'r_2'],
  ['advertise', 'advertise', 'host:1', 'host:1', '[::1]:2'],
  ['peers', 'peers', 'dns:svc:1', { kind: 'dns', host: 'svc', port: 1 }, '/a/file'],
  ['peer-identities', 'peerIdentities', 'dns:*.svc,cn:x', ['dns:*.svc', 'cn:x'], 'cn:other'],
  ['policy', 'policy', 'policy.yaml', 'policy.yaml', 'other.yaml'],
  ['audit-log', 'auditLog', '-', '-', 'audit.log'],
  ['metrics-listen', 'metricsListen', '127.0.0.1:9', '127.0.0.1:9', '127.0.0.1:10'],
  ['allow', 'allow', 'network', ['network'], 'host-actions'],
  ['log-level', 'logLevel', 'debug', 'debug', 'error'],
];
const SWITCHES: readonly (readonly [flag: string, key: keyof Flags])[] = [
  ['debug-service', 'debugService'],
  ['insecure-listen', 'insecureListen'],
  ['insecure-isolation', 'insecureIsolation'],
  ['forward', 'forward'],
  ['trace', 'trace'],
];

const variable = (flag: string): string => `GUESTFS_GRPC_${flag.toUpperCase().replaceAll('-', '_')}`;

describe('the flags', () => {
  it('are all covered', () => {
    const names = [...VALUES, ...SWITCHES].map(([flag]) => `--${flag}`);
    expect(FLAGS.map(({ long }) => long).sort()).toEqual(names.sort());
  });

  it('have defaults', () => {
    expect(read([])).toEqual({ flags: DEFAULTS, given: new Set() });
  });
});

describe.each(VALUES)('--%s', (flag, key, first, means, second) => {
  it('is read from the command line, in both forms', () => {
    const expected = { flags: { ...DEFAULTS, [key]: means }, given: new Set([key]) };
    expect(read([`--${flag}`, first])).toEqual(expected);
    expect(read([`--${flag}=${first}`])).toEqual(expected);
  });

  it('is read from its variable', () => {
    const expected = { flags: { ...DEFAULTS, [key]: means }, given: new Set([key]) };
    expect(read([], { [variable(flag)]: first })).toEqual(expected);
  });

  it('takes precedence over its variable', () => {
    expect(read([`--${flag}`, first], { [variable(flag)]: second }).flags).toEqual({ ...DEFAULTS, [key]: means });
  });

  it('needs a value', () => {
    expect(refusal([`--${flag}`])).toMatch(new RegExp(`--${flag} .*argument missing`));
  });
});

describe.each(SWITCHES)('--%s', (flag, key) => {
  it('is on if it is given, whatever its variable', () => {
    for (const environment of [{}, { [variable(flag)]: '0' }, { [variable(flag)]: '1' }])
      expect(read([`--${flag}`], environment)).toEqual({ flags: { ...DEFAULTS, [key]: true }, given: new Set([key]) });
  });

  it.each([
    ['1', true],
    ['true', true],
    ['Yes', true],
    ['on', true],
    ['0', false],
    ['FALSE', false],
    ['no', false],
    ['off', false],
  ])('accepts %j from its variable', (value, on) => {
    expect(read([], { [variable(flag)]: value }).flags).toEqual({ ...DEFAULTS, [key]: on });
  });

  it('accepts nothing else from it', () => {
    expect(refusal([], { [variable(flag)]: 'perhaps' })).toMatch(new RegExp(`${variable(flag)}.*perhaps`));
  });

  it('takes no value', () => {
    expect(refusal([`--${flag}=1`])).toContain(`--${flag}=1`);
    expect(refusal([`--${flag}`, '1'])).toContain('too many arguments');
  });
});

describe('an empty variable', () => {
  it.each(FLAGS.map(({ envVar = '' }) => envVar))('counts as not set: %s', (name) => {
    expect(read([], { [name]: '' })).toEqual({ flags: DEFAULTS, given: new Set() });
  });

  it('does not affect its flag on the command line', () => {
    const { flags, given } = read(['--memsize', '700'], { GUESTFS_GRPC_MEMSIZE: '' });
    expect([flags.memsize, given]).toEqual([700, new Set(['memsize'])]);
  });
});

describe('a number', () => {
  it.each([
    ['pool', '-1', '0', '1000', '1001'],
    ['memsize', '255', '256', '100000', 'x'],
    ['smp', '0', '1', '255', '256'],
    ['max-sessions', '0', '1', '1000000', '1.5'],
    ['request-memory', '7', '8', '2047', '2048'],
    ['idle-timeout', '-1', '0', '31536000', '1e3'],
    ['max-memsize', '255', '256', '100000', 'x'],
    ['max-smp', '0', '1', '255', '256'],
    ['drain-delay', '-1', '0', '2000000', '2000001'],
    ['unresponsive-timeout', '-1', '0', '2000000', '2000001'],
    ['drain-grace', '-1', '0', '2000000', '2000001'],
    ['max-idle-timeout', '-1', '0', '31536000', '1e3'],
    ['max-sessions-per-client', '0', '1', '100000', 'x'],
    ['max-memory-per-client', '-1', '0', '100000', 'x'],
    ['max-cpus-per-client', '-1', '0', '100000', 'x'],
    ['max-drives-per-client', '-1', '0', '100000', 'x'],
    ['max-connections', '0', '1', '100000', 'x'],
    ['max-calls-per-client', '0', '1', '100000', 'x'],
    ['connection-idle-timeout', '-1', '0', '2000000', '2000001'],
    ['abandoned-call-timeout', '0', '1', '2000000', '2000001'],
    ['stall-timeout', '0', '1', '2000000', '2000001'],
    ['max-calls-per-connection', '0', '1', '2147483647', '2147483648'],
    ['max-connection-age', '-1', '0', '2000000', '2000001'],
    ['max-connection-age-grace', '-1', '0', '2000000', '2000001'],
    ['keepalive-interval', '-1', '0', '2000000', '2000001'],
    ['keepalive-timeout', '0', '1', '2000000', '2000001'],
    ['max-session-age', '-1', '0', '31536000', '1e3'],
  ])('of --%s is in its range', (flag, below, least, most, above) => {
    for (const good of [least, most]) expect(() => read([`--${flag}`, good])).not.toThrow();
    expect(refusal([`--${flag}=`])).toContain('whole number');
    for (const bad of [below, above, ' 8', '0x10', 'NaN']) {
      expect(refusal([`--${flag}=${bad}`])).toMatch(new RegExp(`--${flag} .*whole number`));
      expect(refusal([], { [variable(flag)]: bad })).toMatch(new RegExp(`whole number`));
      expect(refusal([], { [variable(flag)]: bad })).toContain(variable(flag));
    }
  });
});

describe('a choice', () => {
  it.each([
    ['accel', 'fast', 'auto, kvm, tcg'],
    ['launch', 'magic', 'template, cold'],
    ['log-level', 'loud', 'debug, info, warn, error'],
    [
      'allow',
      'everything',
      'remote-drives, block-devices, backing-files, network, channelz, host-actions, custom-qemu',
    ],
    [
      'allow',
      'network,everything',
      'remote-drives, block-devices, backing-files, network, channelz, host-actions, custom-qemu',
    ],
  ])('of --%s is not %s', (flag, bad, choices) => {
    expect(refusal([`--${flag}`, bad])).toMatch(new RegExp(`--${flag} .*'${bad}' is invalid.*${choices}`));
    expect(refusal([], { [variable(flag)]: bad })).toMatch(new RegExp(`'${bad}' from env '${variable(flag)}'`));
  });
});

describe('an address', () => {
  it.each(['listen', 'metrics-listen'])('of --%s has host and port', (flag) => {
    expect(refusal([`--${flag}=`])).toContain('HOST:PORT');
    for (const bad of ['nonsense', ':1', '1.2.3.4:99999', 'h:']) {
      expect(refusal([`--${flag}=${bad}`])).toContain('HOST:PORT');
      expect(refusal([], { [variable(flag)]: bad })).toContain(variable(flag));
    }
  });
});

describe('a path', () => {
  it.each(['appliance', 'tls-cert', 'tls-key', 'client-ca', 'policy'])(
    'of --%s is neither empty nor a flag',
    (flag) => {
      expect(refusal([`--${flag}`, '--trace'])).toContain("'--trace' is invalid");
      expect(refusal([`--${flag}=`])).toContain('must not be empty');
    },
  );
});

describe('a repeatable flag', () => {
  it('has all values that it is given', () => {
    const args = ['--image-root', '/a:b,c', '--image-root=/d', '--allow', 'network', '--allow=remote-drives'];
    expect(read(args).flags).toMatchObject({ imageRoot: ['/a:b,c', '/d'], allow: ['network', 'remote-drives'] });
  });

  it.each([',', ':', ',,', ',:'])('has the values of its variable, separated by %j', (separator) => {
    const environment = {
      GUESTFS_GRPC_IMAGE_ROOT: ['/a', '/b'].join(separator),
      GUESTFS_GRPC_ALLOW: ['network', 'host-actions'].join(separator),
    };
    expect(read([], environment).flags).toMatchObject({
      imageRoot: ['/a', '/b'],
      allow: ['network', 'host-actions'],
    });
  });

  it('ignores its variable if it is given itself', () => {
    const environment = { GUESTFS_GRPC_IMAGE_ROOT: '/a:/b', GUESTFS_GRPC_ALLOW: 'network' };
    const { flags } = read(['--image-root', '/c', '--allow', 'host-actions'], environment);
    expect(flags).toMatchObject({ imageRoot: ['/c'], allow: ['host-actions'] });
  });

  it('has its default if its variable has no values', () => {
    expect(read([], { GUESTFS_GRPC_IMAGE_ROOT: ':', GUESTFS_GRPC_ALLOW: ',' }).flags).toEqual(DEFAULTS);
  });
});

describe('something that is not a flag', () => {
  it.each([[['--nonsense']], [['--listn', 'x']], [['stray']], [['-x']], [['--no-trace']]])('is refused: %j', (args) => {
    expect(refusal(args)).toMatch(/unknown option|too many arguments/);
  });

  it('causes a suggestion', () => {
    expect(refusal(['--listn', 'x'])).toContain('--listen');
  });
});

describe('help and version', () => {
  const printed = (args: readonly string[], environment: NodeJS.ProcessEnv = {}): unknown =>
    inEnvironment(environment, () => readCommandLine(args));

  it('are printed', () => {
    expect(printed(['--version'])).toEqual({ text: `guestfs-grpc ${SERVER_VERSION}\n` });
    expect(printed(['--trace', '--help'])).toEqual({ text: expect.stringContaining('Usage: npm start -- [FLAGS]') });
    expect(readCommandLine(['--help'], 'guestfs-grpc serve')).toEqual({
      text: expect.stringContaining('Usage: guestfs-grpc serve [FLAGS]'),
    });
  });

  it('are printed even if the environment is invalid', () => {
    for (const flag of ['--help', '--version'])
      expect(printed([flag], { GUESTFS_GRPC_SMP: 'x' })).toEqual({ text: expect.any(String) });
  });

  it('cannot be requested by the environment', () => {
    expect(read([], { GUESTFS_GRPC_VERSION: '1', GUESTFS_GRPC_HELP: '1' }).flags).toEqual(DEFAULTS);
  });

  it('have each flag with its variable, default and choices', () => {
    const text = inEnvironment({}, () => readCommandLine(['--help'])) as { readonly text: string };
    const help = text.text.replaceAll(/\s+/g, ' ');
    for (const option of FLAGS) {
      expect(help).toContain(` ${option.flags} ${option.description}`);
      expect(help).toContain(`env: ${String(option.envVar)}`);
      for (const choice of option.argChoices ?? []) expect(help).toContain(`"${choice}"`);
    }
    for (const [, key] of VALUES)
      if (['string', 'number'].includes(typeof DEFAULTS[key]))
        expect(help).toContain(`default: ${JSON.stringify(DEFAULTS[key])}`);
  });
});
