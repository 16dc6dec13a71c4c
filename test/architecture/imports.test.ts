/**
 * Imports point down. Each folder of src is a room with one subject; a room imports rooms
 * below it only, so that it can be read, tested and replaced without those above.
 */
import { describe, expect, test } from '@jest/globals';
import { findCycle } from './findCycle.js';
import { filesBelow, importsOf, textOf } from './sourceTree.js';

/** The rooms of the running server, from the bottom up; rooms on the same level do not import each other. */
const LEVELS: readonly (readonly string[])[] = [
  ['common'],
  ['jail'],
  ['xdr', 'events'],
  ['protocol', 'qemu', 'appliance', 'security'],
  ['images'],
  ['launcher'],
  ['session'],
  ['library'],
  ['server'],
  ['gateway'],
  ['cli'],
];

/** Rooms with special rules: the list, which imports nothing, and the generator, which reads it to write code. */
const LIST = 'actions';
const GENERATOR = 'generator';

/** The default appliance and its location: the builder and the server have to agree on them. */
const SHARED_WITH_BUILDER = ['appliance-builder/location.ts', 'appliance-builder/suite.ts'];

/**
 * The rooms that each part of the generated code is for. Below the launcher nothing knows actions; how calls are encoded
 * is for those that make them, messages of the API for those that answer with them, services for the server.
 */
const GENERATED: readonly { readonly path: string; readonly rooms: readonly string[] }[] = [
  { path: 'gen/calls/', rooms: ['launcher', 'session', 'library', 'server'] },
  { path: 'gen/libraryActions.ts', rooms: ['library', 'server'] },
  { path: 'gen/proto/', rooms: ['library', 'server', 'gateway'] },
  { path: 'gen/services.ts', rooms: ['server'] },
];

/** The only file that starts programs through execa. */
const SUBPROCESS = 'src/common/subprocess.ts';

/** The only file that knows OpenTelemetry's packages. */
const TRACES = 'src/server/tracing/openTelemetry.ts';

/** Read XDR above the protocol: files that some actions download are lists of XDR records. */
const RECORD_READERS = ['src/library/fileLists.ts', 'src/library/records.ts'];

const levelOf = new Map(LEVELS.flatMap((rooms, level) => rooms.map((room) => [room, level] as const)));
const sources = filesBelow('src', '.ts');

/** The room of a file in src, or undefined for any other file. */
function roomOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/** Why a file may not import another; undefined if it may. */
function objection(from: string, to: string): string | undefined {
  const [room, other] = [roomOf(from), roomOf(to)];
  if (room === undefined || room === other) return undefined;
  if (room === LIST) return 'the action list imports nothing from outside itself';
  if (room === GENERATOR) return other === LIST ? undefined : 'the generator imports the action list only';
  if (to.startsWith('gen/')) {
    const part = GENERATED.find(({ path }) => to.startsWith(path));
    return part?.rooms.includes(room) ? undefined : `${room} is not among ${part?.rooms.join(', ') ?? 'known rooms'}`;
  }
  if (SHARED_WITH_BUILDER.includes(to) || other === LIST) return undefined;
  if (other === GENERATOR) return 'the generator is not part of the server';
  if (other === undefined) return 'the server imports src and gen only';
  return (levelOf.get(other) ?? Infinity) < (levelOf.get(room) ?? -1) ? undefined : `${room} is not above ${other}`;
}

describe('imports', () => {
  test('every room has its place', () => {
    const rooms = new Set(sources.map(roomOf).filter((room) => room !== undefined));
    const known = [...levelOf.keys(), LIST, GENERATOR];
    expect([...rooms].filter((room) => !known.includes(room))).toEqual([]);
  });

  test('point down', () => {
    const wrong = sources.flatMap((from) =>
      importsOf(from).files.flatMap((to) => {
        const why = objection(from, to);
        return why === undefined ? [] : [`${from} imports ${to}: ${why}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test('find generated code only where it belongs', () => {
    expect(objection('src/library/file.ts', 'gen/proto/guestfs/v1/structs.ts')).toBeUndefined();
    expect(objection('src/session/session.ts', 'gen/proto/guestfs/v1/session.ts')).toBe(
      'session is not among library, server, gateway',
    );
    expect(objection('src/qemu/process.ts', 'gen/calls/file.ts')).toContain('qemu is not among launcher');
    expect(objection('src/server/server.ts', 'gen/other.ts')).toBe('server is not among known rooms');
    const parts = filesBelow('gen', '.ts').filter((file) => !GENERATED.some(({ path }) => file.startsWith(path)));
    expect(parts).toEqual([]);
  });

  test('the action list imports no packages', () => {
    expect(filesBelow('src/actions', '.ts').filter((path) => importsOf(path).packages.length > 0)).toEqual([]);
  });

  test('only one file starts programs', () => {
    const importers = (name: RegExp) =>
      sources.filter((path) => importsOf(path).packages.some((imported) => name.test(imported)));
    expect(importers(/^execa(\/|$)/).filter((path) => path !== SUBPROCESS)).toEqual([]);
    expect(importers(/^(node:)?child_process$/).filter((path) => path !== SUBPROCESS)).toEqual([]);
  });

  test('clients need the generated API alone', () => {
    const wrong = filesBelow('clients', '.ts').flatMap((from) =>
      importsOf(from).files.filter((to) => !/^(clients|gen\/proto)\//.test(to)),
    );
    expect(wrong).toEqual([]);
  });

  test('only the server, the gateway and the command line know gRPC', () => {
    const importers = sources.filter((path) =>
      importsOf(path).packages.some((name) => /^(@grpc\/|grpc-health-check$|prom-client$)/.test(name)),
    );
    expect(importers.filter((path) => !['server', 'gateway', 'cli'].includes(roomOf(path) ?? ''))).toEqual([]);
  });

  test('only one file knows OpenTelemetry, and nothing loads it before tracing is turned on', () => {
    const knowing = sources.filter((path) =>
      importsOf(path).packages.some((name) => name.startsWith('@opentelemetry/')),
    );
    expect(knowing).toEqual([TRACES]);
    const loading = sources.filter((path) => /^import (?!type\b)[^;]*\/openTelemetry\.js'/m.test(textOf(path)));
    expect(loading).toEqual([]);
  });

  test('only one room knows the XDR library, and few files above the protocol know XDR', () => {
    const knowing = (path: string): boolean => importsOf(path).packages.some((name) => name.startsWith('@stellar/'));
    expect(sources.filter(knowing).filter((path) => roomOf(path) !== 'xdr')).toEqual([]);
    const readers = sources.filter((path) => importsOf(path).files.some((file) => roomOf(file) === 'xdr'));
    expect(readers.filter((path) => !['xdr', 'protocol'].includes(roomOf(path) ?? ''))).toEqual(RECORD_READERS);
  });

  test('have no cycles', () => {
    expect(
      findCycle(sources, (path) => importsOf(path).files.filter((file) => sources.includes(file))),
    ).toBeUndefined();
  });
});
