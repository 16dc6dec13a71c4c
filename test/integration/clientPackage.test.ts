/** The client's npm package: what it contains, and a program of someone else that is compiled and run with it. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { root, textOf } from '../architecture/sourceTree.js';
import { freePort } from '../support/diskServers.js';

/** Compiles all of the generated API, with types. */
const COMPILE_LIMIT_MS = 400_000;
const SIZE_LIMIT = 1024 * 1024;
const HOME = 'clients/typescript';

interface Manifest {
  readonly version: string;
  readonly license: string;
  readonly type: string;
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

const manifestOf = (path: string): Manifest => JSON.parse(textOf(path)) as Manifest;
const manifest = manifestOf(`${HOME}/package.json`);
const ofServer = manifestOf('package.json');

/** A program with the client, as its README shows it. */
const PROGRAM = `
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { connect, EventType, GuestfsRpcError, type CallProgress, type Guest } from 'guestfs-grpc-client';
import { FileServiceService as Files } from 'guestfs-grpc-client/api/file';

export async function typed(guest: Guest): Promise<void> {
  const names: string[] = await guest.ls('/');
  const size: bigint = await guest.filesize(names[0] ?? '');
  const shown = ({ position, total }: CallProgress): void => console.log(position, total);
  await guest.upload(createReadStream('file'), '/file', { progressHint: size, onProgress: shown });
  await guest.write('/file', new Uint8Array([1]), { deadline: Date.now() + 1000, signal: new AbortController().signal });
  await guest.upload(new Blob(['text']).stream(), '/file');
  const file: Readable = guest.download('/file').node();
  const web: ReadableStream<Uint8Array> = guest.download('/file').web();
  for await (const chunk of guest.download('/file')) console.log(chunk.length, file, web);
  for await (const { action } of await guest.progress()) console.log(action);
  for await (const { type } of await guest.events([EventType.APPLIANCE])) console.log(type);
  for await (const { listing } of guest.session.stream(Files.ls, { directory: '/' })) console.log(listing);
  // @ts-expect-error: a number is no path
  await guest.exists(5);
  // @ts-expect-error: there is no such option
  await guest.mkfs('ext4', '/dev/sda', { lable: 'data' });
}

try {
  await using guest = await connect(process.argv[2] ?? '').session({ drives: [{ path: 'disk.img' }], launch: true });
  await typed(guest);
} catch (error) {
  if (!(error instanceof GuestfsRpcError)) throw error;
  const { code, reason, errno, action, message, requestId } = error;
  console.log(JSON.stringify({ code, reason, errno, action, message, requestId }));
}
`;

const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-client-'));
const stage = join(directory, 'stage');
const consumer = join(directory, 'consumer');
const installed = join(consumer, 'node_modules', 'guestfs-grpc-client');
let files: string[];
let size: number;

beforeAll(() => {
  // Not in the project's own folder: "npm pack" there writes what this reads elsewhere.
  mkdirSync(stage);
  for (const name of ['package.json', 'README.md', 'LICENSE']) copyFileSync(join(root, HOME, name), join(stage, name));
  const compiler = pathToFileURL(join(root, 'scripts', 'setup', 'client.mjs')).href;
  const compile = `await (await import(${JSON.stringify(compiler)})).compileClient(${JSON.stringify(join(stage, 'dist'))})`;
  execFileSync(process.execPath, ['--input-type=module', '-e', compile], { stdio: 'pipe' });
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', directory], {
    cwd: stage,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [answer] = JSON.parse(packed) as { filename: string; size: number; files: { path: string }[] }[];
  files = answer?.files.map(({ path }) => path) ?? [];
  size = answer?.size ?? Infinity;
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(directory, answer?.filename ?? ''), '--strip-components=1', '-C', installed]);
  // What it depends on, and nothing else.
  for (const name of Object.keys(manifest.dependencies)) {
    const place = join(consumer, 'node_modules', name);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), place);
  }
  writeFileSync(join(consumer, 'package.json'), '{"private": true, "type": "module"}');
  writeFileSync(join(consumer, 'program.ts'), PROGRAM);
}, COMPILE_LIMIT_MS);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it('contains the compiled client with its types, README and licence, and nothing else', () => {
  const compiled = files.filter((path) => path.startsWith('dist/'));
  expect(files.filter((path) => !compiled.includes(path)).sort()).toEqual(['LICENSE', 'README.md', 'package.json']);
  expect(
    compiled.filter(
      (path) => !/^dist\/(clients\/typescript\/src|gen\/proto\/(guestfs|google))\/[\w/]+(\.d\.ts|\.js)$/.test(path),
    ),
  ).toEqual([]);
  const named = (ending: string): string[] =>
    compiled.filter((path) => path.endsWith(ending)).map((path) => path.slice(0, -ending.length));
  expect(named('.js')).toEqual(named('.d.ts'));
  const sources = readdirSync(join(root, HOME, 'src')).map((name) => name.replace(/\.ts$/, ''));
  expect(named('.js').filter((path) => path.startsWith('dist/clients/'))).toEqual(
    sources.map((name) => `dist/${HOME}/src/${name}`).sort(),
  );
  expect(size).toBeLessThan(SIZE_LIMIT);
});

it('is described by its package.json', () => {
  expect(manifest).toMatchObject({
    version: ofServer.version,
    license: ofServer.license,
    type: 'module',
    engines: ofServer.engines,
  });
  expect(textOf(`${HOME}/LICENSE`)).toBe(textOf('LICENSE'));
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [target] : Object.values(target),
  );
  for (const target of targets) expect(files).toContain(target.replace('*', 'file').slice('./'.length));
});

it('depends on what it imports, in the versions of the server', () => {
  const imported = new Set<string>();
  for (const path of files.filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(join(installed, path), 'utf8');
    for (const [, name = ''] of text.matchAll(/^(?:import|export) (?:[^'"]* from )?["']([^.'"][^'"]*)["']/gm))
      if (!name.startsWith('node:')) imported.add(name.split('/', 2).join('/'));
  }
  const { '@types/node': types, ...atRunTime } = manifest.dependencies;
  expect(Object.keys(atRunTime)).toEqual([...imported].sort());
  expect(ofServer.dependencies).toMatchObject(atRunTime);
  expect(types).toBe('>=20');
});

it(
  'compiles with a program in strict mode, which then tells that its server is not there, and ends',
  async () => {
    const options = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext'];
    const tsc = spawnSync(
      process.execPath,
      [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), ...options, 'program.ts'],
      { cwd: consumer, encoding: 'utf8' },
    );
    expect(tsc.stdout).toBe('');
    expect(tsc.status).toBe(0);
    const address = `127.0.0.1:${await freePort()}`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['program.js', address], {
      cwd: consumer,
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect([stderr, status]).toEqual(['', 0]);
    expect(JSON.parse(stdout)).toEqual({
      code: 14,
      reason: 'UNREACHABLE',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      message: expect.stringContaining(`the server at ${address} cannot be reached, or the connection was lost: `),
    });
  },
  COMPILE_LIMIT_MS,
);
