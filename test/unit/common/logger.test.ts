import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { createLogger, LOG_LEVELS, silentLogger, type Logger, type LogLevel } from '../../../src/common/logger.js';

/** The logged lines. */
function written(log: (logger: Logger) => void, level: LogLevel = 'debug'): Record<string, unknown>[] {
  const lines: string[] = [];
  log(createLogger(level, (line) => lines.push(line)));
  for (const line of lines) expect(line).toMatch(/^\{.*\}\n$/);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

const SECRET = 'open sesame';

describe('a log line', () => {
  it('has the time in ISO 8601, the level as a word, the message and the fields, and nothing else', () => {
    const [line] = written((logger) => logger.info('session created', { session: 's', action: 'launch', drives: 2 }));
    expect(line).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: 'info',
      msg: 'session created',
      session: 's',
      action: 'launch',
      drives: 2,
    });
    expect(Math.abs(Date.parse(String(line?.['time'])) - Date.now())).toBeLessThan(60_000);
  });

  it.each(LOG_LEVELS)('of level %s has that level, and is written at it', (level) => {
    expect(written((logger) => logger[level]('x'), level)).toMatchObject([{ level, msg: 'x' }]);
  });

  it('below the level is dropped', () => {
    const all = (logger: Logger): void => LOG_LEVELS.forEach((level) => logger[level](level));
    expect(written(all, 'warn').map(({ msg }) => msg)).toEqual(['warn', 'error']);
  });

  it('has the fields of its logger, each once: its own take precedence', () => {
    const lines: string[] = [];
    const child = createLogger('info', (line) => lines.push(line)).child({ session: 'a', identity: 'i' });
    child.child({ action: 'ls' }).info('x', { session: 'b' });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ session: 'b', identity: 'i', action: 'ls' });
    expect(lines[0]?.match(/"session"/g)).toHaveLength(1);
  });

  it('omits undefined values, and accepts values that JSON cannot represent', () => {
    const circle: Record<string, unknown> = {};
    circle['circle'] = circle;
    const [line] = written((logger) => logger.info('x', { session: undefined, size: 5n, circle }));
    expect(line).toMatchObject({ size: 5, circle: expect.anything() });
    expect(line).not.toHaveProperty('session');
  });

  it('of an error has its type, message, stack, details and causes', () => {
    const err = new GuestfsError('EIO', 'cannot sync', {
      metadata: { device: '/dev/sda' },
      cause: new Error('the disk is full'),
    });
    const [line] = written((logger) => logger.error('x', { err }));
    expect(line).toMatchObject({
      err: {
        type: 'GuestfsError',
        message: expect.stringContaining('cannot sync'),
        stack: expect.stringContaining('the disk is full'),
        reason: 'EIO',
        details: { metadata: { device: '/dev/sda' } },
      },
    });
  });
});

describe('secrets are not logged', () => {
  it.each(['key', 'keys', 'passphrase', 'password', 'secret', 'token', 'credentials', 'authorization', 'cookie'])(
    'under the name %s, at any depth that lines have',
    (name) => {
      const fact = { [name]: SECRET };
      const error = (): GuestfsError => new GuestfsError('EIO', 'x', { metadata: fact });
      const fields = [
        fact,
        { request: fact },
        { drives: [fact] },
        { err: error() },
        { err: new AggregateError([error()], 'several') },
      ];
      const lines = written((logger) => {
        for (const one of fields) logger.error('x', one);
        logger.child(fact).info('x');
        logger.child({ request: fact }).info('x');
      });
      expect(lines).toHaveLength(fields.length + 2);
      for (const line of lines) {
        expect(JSON.stringify(line)).not.toContain(SECRET);
        expect(JSON.stringify(line)).toContain(`"${name}":"[redacted]"`);
      }
    },
  );

  it('and the logged object keeps them', () => {
    const request = { key: SECRET };
    written((logger) => logger.info('x', { request }));
    expect(request.key).toBe(SECRET);
  });
});

describe('the silent logger', () => {
  it('writes nothing', () => {
    const write = process.stderr.write;
    let wrote = false;
    process.stderr.write = () => (wrote = true);
    try {
      for (const level of LOG_LEVELS) silentLogger[level]('x');
    } finally {
      process.stderr.write = write;
    }
    expect(wrote).toBe(false);
  });
});
