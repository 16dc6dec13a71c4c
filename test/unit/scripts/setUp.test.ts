/** What `npm start` installs, prints and refuses, tested with fakes: nothing is installed here. */
import { describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../architecture/sourceTree.js';

interface Package {
  readonly name: string;
  readonly why: string;
}
interface Findings {
  readonly hasProgram: (program: string) => boolean;
  readonly missingNodePackages: readonly string[];
  readonly built: boolean;
  readonly appliance: { readonly directory: string; readonly complete: boolean } | undefined;
}
interface NoSetup {
  setupForbidden(environment: NodeJS.ProcessEnv): boolean;
  startRequest(
    args: readonly string[],
    environment: NodeJS.ProcessEnv,
  ): { setUp: boolean; ownAppliance: boolean; serverArgs: string[] };
}
interface SystemPackages {
  missingPackages(
    wanted: readonly (Package & { readonly ubuntu?: string })[],
    ubuntu: boolean,
    installedAmong: (names: readonly string[]) => ReadonlySet<string>,
  ): Package[];
  decide(
    missing: readonly Package[],
    circumstances: { install: boolean; canBecomeRoot: boolean },
  ): { install: boolean; message: string; remedy?: string };
}
interface Missing {
  missingForServer(brought: { ownAppliance: boolean; ownQemu: boolean }, found: Findings): string[];
}

const script = (name: string): Promise<unknown> => import(pathToFileURL(join(root, 'scripts/setup', name)).href);
const { setupForbidden, startRequest } = (await script('noSetup.mjs')) as NoSetup;
const { missingPackages, decide } = (await script('systemPackages.mjs')) as SystemPackages;
const { missingForServer } = (await script('missing.mjs')) as Missing;

describe('npm start', () => {
  test('sets up by default, and passes its arguments on', () => {
    expect(startRequest(['--pool', '2'], {})).toEqual({
      setUp: true,
      ownAppliance: false,
      serverArgs: ['--pool', '2'],
    });
  });

  test('does not with --no-setup, which is not passed to the server', () => {
    expect(startRequest(['--pool', '2', '--no-setup', '--trace'], {})).toEqual({
      setUp: false,
      ownAppliance: false,
      serverArgs: ['--pool', '2', '--trace'],
    });
  });

  test('does not with GUESTFS_GRPC_NO_SETUP', () => {
    expect(startRequest([], { GUESTFS_GRPC_NO_SETUP: '1' }).setUp).toBe(false);
    expect(startRequest([], { GUESTFS_GRPC_NO_SETUP: '0' }).setUp).toBe(true);
    expect(() => setupForbidden({ GUESTFS_GRPC_NO_SETUP: 'perhaps' })).toThrow(
      'GUESTFS_GRPC_NO_SETUP: perhaps is neither true nor false; use 1 or 0',
    );
  });

  test.each<[string[], NodeJS.ProcessEnv]>([
    [['--appliance', '/somewhere'], {}],
    [['--appliance=/somewhere'], {}],
    [[], { GUESTFS_GRPC_APPLIANCE: '/somewhere' }],
    [[], { LIBGUESTFS_PATH: '/somewhere' }],
  ])('needs no appliance of its own when one is given: %j %j', (args, environment) => {
    expect(startRequest(args, environment).ownAppliance).toBe(true);
  });
});

describe('system packages', () => {
  const wanted = [
    { name: 'qemu-system-x86', why: 'runs the appliances' },
    { name: 'linux-image-cloud-amd64', ubuntu: 'linux-image-virtual', why: 'the kernel' },
    { name: 'tar', why: 'unpacks packages' },
  ];
  const missing = missingPackages(wanted, true, () => new Set(['tar']));
  const list = '\n  qemu-system-x86      runs the appliances\n  linux-image-virtual  the kernel';

  test('are those that dpkg does not list as installed, by the names of the distribution', () => {
    expect(missing.map(({ name }) => name)).toEqual(['qemu-system-x86', 'linux-image-virtual']);
    expect(missingPackages(wanted, false, (names) => new Set(names))).toEqual([]);
  });

  test('are listed with their reasons, one per line, before they are installed, with a way to avoid it', () => {
    expect(decide(missing, { install: true, canBecomeRoot: true })).toEqual({
      install: true,
      message:
        'installing system packages with apt (to install nothing, set GUESTFS_GRPC_NO_SETUP=1; ' +
        `npm start also takes --no-setup):${list}`,
    });
  });

  test.each([
    ['set-up is forbidden', { install: false, canBecomeRoot: true }],
    ['there is no way to become root', { install: true, canBecomeRoot: false }],
  ])('are only listed, with the command that installs them, if %s', (_, circumstances) => {
    expect(decide(missing, circumstances)).toEqual({
      install: false,
      message: `system packages are missing:${list}`,
      remedy: 'run as root, then start again: apt-get install qemu-system-x86 linux-image-virtual',
    });
  });
});

describe('a start without set-up', () => {
  const complete: Findings = {
    hasProgram: () => true,
    missingNodePackages: [],
    built: true,
    appliance: { directory: '/cache/trixie', complete: true },
  };
  const nothing = { ownAppliance: false, ownQemu: false };

  test('proceeds if everything is installed', () => {
    expect(missingForServer(nothing, complete)).toEqual([]);
  });

  test('lists what is missing and how to get it', () => {
    const found: Findings = {
      hasProgram: (program) => program !== 'qemu-system-x86_64',
      missingNodePackages: ['node_modules/pino', 'node_modules/execa'],
      built: false,
      appliance: { directory: '/cache/trixie', complete: false },
    };
    expect(missingForServer(nothing, found)).toEqual([
      "the program qemu-system-x86_64 (runs the appliances): install Debian's package qemu-system-x86",
      'npm packages (node_modules/pino and 1 more): npm ci --ignore-scripts',
      'the compiled server: npm run build',
      'an appliance in /cache/trixie: npm run appliance, or give another one with --appliance DIR',
    ]);
  });

  test('does not require what the user provides', () => {
    const found: Findings = {
      ...complete,
      hasProgram: (program) => program !== 'qemu-system-x86_64',
      appliance: { directory: '/cache/trixie', complete: false },
    };
    expect(missingForServer({ ownAppliance: true, ownQemu: true }, found)).toEqual([]);
  });

  test('ignores the appliance while no compiled code knows its location', () => {
    const found: Findings = { ...complete, built: false, appliance: undefined };
    expect(missingForServer(nothing, found)).toEqual(['the compiled server: npm run build']);
  });
});
