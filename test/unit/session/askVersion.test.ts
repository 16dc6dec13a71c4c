/** Determines the version of a daemon by probing its procedures. */
import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { isFileIn } from '../../../src/actions/shape.js';
import { DaemonVersion } from '../../../src/protocol/daemonVersion.js';
import { askVersion } from '../../../src/session/askVersion.js';
import { connected, expectRest, failureOf, type Connected } from '../../fakes/connected.js';
import { forbidWarnings } from '../../fakes/warnings.js';

forbidWarnings();

/** Procedures of the daemon, with the version in which each was added. */
const procedures = new Map(
  allActions.filter((action) => action.impl === 'daemon').map((action) => [action.procedure, action]),
);

/** Answers like a daemon of this version; resolves when the other side has finished. */
async function serve({ daemon }: Connected, version: string, asked: string[], done: Promise<unknown>): Promise<void> {
  let open = true;
  void done
    .finally(() => {
      open = false;
    })
    .catch(() => undefined);
  const own = new DaemonVersion(version);
  while (open) {
    const call = await Promise.race([daemon.nextCall(), done.then(() => undefined)]);
    if (call === undefined) return;
    const action = procedures.get(call.procedure);
    asked.push(action?.name ?? String(call.procedure));
    expect(call.body).toHaveLength(0);
    expect(call.optionalArguments).toBe(0n);
    if (action && own.atLeast(action.since)) await daemon.fail(call, '', 'daemon failed to decode procedure arguments');
    else
      await daemon.fail(
        call,
        '',
        `dispatch_incoming_message: unknown procedure number ${call.procedure}, set LIBGUESTFS_PATH to point to the matching libguestfs appliance directory`,
      );
  }
}

async function versionOf(version: string): Promise<{ readonly answer: string; readonly asked: readonly string[] }> {
  const both = await connected();
  const asked: string[] = [];
  const answer = askVersion(both.connection);
  const [result] = await Promise.all([answer, serve(both, version, asked, answer)]);
  return { answer: result.text, asked };
}

const newer = allActions.filter(
  (action) => action.impl === 'daemon' && new DaemonVersion(action.since).atLeast('1.49.0'),
);
const milestones = [...new Set(newer.map((action) => action.since))];

describe('askVersion', () => {
  it.each(milestones)('detects a daemon with all procedures of %s', async (version) => {
    const { answer } = await versionOf(version);
    expect(answer).toBe(version);
  });

  it.each([
    ['1.48.0', '1.48.0'],
    ['1.48.6', '1.48.0'],
    ['1.54.1', '1.53.5'],
    ['1.61.2', milestones.reduce((one, other) => (new DaemonVersion(one).atLeast(other) ? one : other))],
  ])('reports %s as %s, which has the same actions', async (version, expected) => {
    const { answer } = await versionOf(version);
    expect(answer).toBe(expected);
    for (const action of newer) {
      expect({ action: action.name, has: new DaemonVersion(answer).atLeast(action.since) }).toEqual({
        action: action.name,
        has: new DaemonVersion(version).atLeast(action.since),
      });
    }
  });

  it('asks the newest first, and only for actions that cannot run without arguments', async () => {
    const { asked } = await versionOf('1.48.6');
    const versions = asked.map(
      (name) => new DaemonVersion(newer.find((action) => action.name === name)?.since ?? '0.0'),
    );
    versions.forEach((version, index) => {
      const next = versions[index + 1];
      if (next) expect(version.atLeast(next.text)).toBe(true);
    });
    for (const name of asked) {
      const action = newer.find((candidate) => candidate.name === name);
      expect(
        action?.args.some(
          (argument) =>
            argument.type === 'string_list' ||
            (argument.type === 'string' && argument.kind !== 'filein' && argument.kind !== 'fileout'),
        ),
      ).toBe(true);
      expect(action && isFileIn(action)).toBe(false); // the daemon would wait for the file
    }
  });

  it('treats a missing optional group as a known action', async () => {
    const both = await connected();
    const answer = askVersion(both.connection);
    await both.daemon.fail(
      await both.daemon.nextCall(),
      'ENOTSUP',
      "feature 'xfs' is not available in this\nbuild of libguestfs.",
    );
    expect((await answer).text).toBe('1.59.2');
    await expectRest(both);
  });

  it('leaves the connection idle', async () => {
    const both = await connected();
    const asked: string[] = [];
    const answer = askVersion(both.connection);
    await Promise.all([answer, serve(both, '1.61.0', asked, answer)]);
    await expectRest(both).catch(() => undefined);
    expect(both.connection.failure).toBeUndefined();
  });

  it('fails when the daemon ends, or breaks the protocol', async () => {
    const dead = await connected();
    const answer = failureOf(askVersion(dead.connection));
    await dead.daemon.nextCall();
    dead.daemon.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });

    const wrong = await connected();
    const other = failureOf(askVersion(wrong.connection));
    const call = await wrong.daemon.nextCall();
    await wrong.daemon.reply(call, undefined, { serial: 99 });
    expect(await other).toMatchObject({ reason: 'PROTOCOL_ERROR' });
  });
});

describe('DaemonVersion', () => {
  it.each([
    ['1.54.1', '1.54.1', true],
    ['1.54.1', '1.54.0', true],
    ['1.54.1', '1.54.2', false],
    ['1.54.1', '1.53.9', true],
    ['1.54.1', '1.55.0', false],
    ['1.54', '1.54.0', true],
    ['1.54', '1.54.1', false],
    ['2.0.0', '1.99.99', true],
    ['1.9.0', '1.10.0', false],
    ['1.48.6rhel=9,release=1', '1.48.6', true],
  ])('%s is at least %s: %s', (version, other, expected) => {
    expect(new DaemonVersion(version).atLeast(other)).toBe(expected);
  });

  it.each([
    ['1.48.6', '1.48', true],
    ['1.48.0', '1.48', true],
    ['1.47.9', '1.48', true],
    ['1.49.0', '1.48', false],
    ['2.0.0', '1.48', false],
    ['0.9.0', '1.48', true],
  ])('%s belongs to %s or an older series: %s', (version, series, expected) => {
    expect(new DaemonVersion(version).upTo(series)).toBe(expected);
  });

  it.each(['', 'unknown', 'v1.2.3', '1'])('refuses %p', (text) => {
    expect(() => new DaemonVersion(text)).toThrow('not a libguestfs version');
  });
});
