/** `guestfs-grpc inspect` without a server: what it is asked for, and what it makes of a report. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, status } from '@grpc/grpc-js';
import { pathToFileURL } from 'node:url';
import { root } from '../../architecture/sourceTree.js';
import { afterAll, describe, expect, test } from '@jest/globals';
import {
  InspectedImage,
  InspectedSystem,
  type InspectResponse,
} from '../../../gen/proto/guestfs/v1/inspection_report.js';
import { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { parseAddress } from '../../../clients/command/address.js';
import { billOfMaterials } from '../../../clients/command/billOfMaterials.js';
import { readInspectCommandLine, UsageError } from '../../../clients/command/commandLine.js';
import { exitCodeOf } from '../../../clients/command/exitCode.js';
import { reportAsJson, wholeReport, type Report } from '../../../clients/command/report.js';
import { GuestfsRpcError } from '../../../clients/typescript/src/error.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { DETAILS_TRAILER, encodeStatus } from '../../../src/server/errorDetails.js';

const { problemOf } = (await import(pathToFileURL(join(root, 'scripts/supply/cyclonedx.mjs')).href)) as {
  problemOf(document: string): Promise<string | undefined>;
};

const VALIDATION_MS = 60_000;
const NOTHING = new Uint8Array();
const image = {
  ...InspectedImage.decode(NOTHING),
  devices: [{ device: '/dev/sda', size: 1n << 60n, partition_table: '' }],
  roots: ['/dev/sda'],
};
const system = {
  ...InspectedSystem.decode(NOTHING),
  root: '/dev/sda',
  type: 'linux',
  distro: 'debian',
  product_name: 'Debian GNU/Linux 13 (trixie)',
  version: '13',
  mountpoints: new Map([['/', '/dev/sda']]),
};
const bash = {
  ...Application2.decode(NOTHING),
  app2_name: 'bash',
  app2_epoch: 1,
  app2_version: '5.2',
  app2_release: '1',
  app2_url: 'https://example.com/bash',
};
const PURL = 'pkg:deb/debian/bash@1:5.2-1?distro=debian-13';
const warning = { field: 'hostname', action: 'inspect_get_hostname', reason: 'ENOENT', message: 'not there' };

async function* stream(...parts: readonly Partial<InspectResponse>[]): AsyncGenerator<InspectResponse> {
  for (const one of parts) yield { part: undefined, warnings: [], ...one };
}

const applications = (root: string, ...found: Application2[]): Partial<InspectResponse> => ({
  part: { $case: 'applications', value: { root, applications: found, package_urls: found.map(() => PURL) } },
});

const usual = (): Promise<Report> =>
  wholeReport(
    stream(
      { part: { $case: 'image', value: image } },
      {},
      { part: { $case: 'system', value: system }, warnings: [warning] },
      applications('/dev/sda', bash),
      applications('/dev/sda', { ...bash, app2_name: 'zsh' }),
    ),
  );

describe('a report', () => {
  test('has all applications of a system, however many parts they come in', async () => {
    const { systems } = await usual();
    expect(systems.map((one) => one.applications.map(({ app2_name: name }) => name))).toEqual([['bash', 'zsh']]);
    expect(systems[0]?.warnings).toEqual([warning]);
  });

  test('belongs to the last of the systems with the same root', async () => {
    const part = { part: { $case: 'system', value: system } } as const;
    const parts = stream({ part: { $case: 'image', value: image } }, part, part, applications('/dev/sda', bash));
    expect((await wholeReport(parts)).systems.map((one) => one.applications.length)).toEqual([0, 1]);
  });

  test.each([
    ['without an image', stream(), 'ended the report before it began'],
    [
      'with applications of nothing',
      stream({ part: { $case: 'image', value: image } }, applications('/dev/sdb', bash)),
      'out of order',
    ],
  ])('%s is refused', async (_name, parts, message) => {
    await expect(wholeReport(parts)).rejects.toThrow(message);
  });

  test('is JSON, with numbers of 64 bits as strings and maps as objects', async () => {
    expect(JSON.parse(reportAsJson(await usual()))).toMatchObject({
      image: { devices: [{ size: (1n << 60n).toString() }] },
      systems: [{ mountpoints: { '/': '/dev/sda' }, applications: [{ app2_name: 'bash', package_url: PURL }, {}] }],
    });
  });
});

describe('a bill of materials', () => {
  const subject = { images: ['disk.img'], at: new Date(0) };

  test(
    'is CycloneDX, with the system, its packages and what is missing',
    async () => {
      const document = billOfMaterials(await usual(), subject);
      expect(await problemOf(document)).toBeUndefined();
      expect(JSON.parse(document)).toMatchObject({
        bomFormat: 'CycloneDX',
        metadata: {
          timestamp: '1970-01-01T00:00:00.000Z',
          component: {
            type: 'file',
            name: 'disk.img',
            properties: [{ name: 'guestfs-grpc:incomplete', value: 'hostname: ENOENT: not there' }],
          },
        },
        components: [
          { type: 'operating-system', name: 'debian', version: '13' },
          {
            type: 'library',
            name: 'bash',
            version: '1:5.2-1',
            externalReferences: [{ url: 'https://example.com/bash' }],
          },
          { type: 'library', name: 'zsh' },
        ],
        dependencies: expect.arrayContaining([
          { ref: 'system-0', dependsOn: ['system-0/package-0', 'system-0/package-1'] },
        ]),
      });
      expect(JSON.parse(document).components[1].purl).toMatch(
        /^pkg:deb\/debian\/bash@1(:|%3A)5\.2-1\?distro=debian-13$/,
      );
    },
    VALIDATION_MS,
  );

  test(
    'is valid whatever a guest claims',
    async () => {
      const odd = '\u0000\u001b[2J"\\\ud800</x>\u202e';
      const claimed = {
        ...bash,
        app2_name: '',
        app2_version: odd,
        app2_summary: odd,
        app2_publisher: odd,
        package_url: odd,
      };
      const urls = ['javascript:alert(1)', 'not a URL', 'http://[', 'https://user:secret@example.com/ä b|<>"'];
      const report: Report = {
        image,
        warnings: [{ ...warning, message: odd }],
        systems: [
          {
            ...system,
            distro: odd,
            version: odd,
            hostname: odd,
            warnings: [],
            applications: urls.map((app2_url) => ({ ...claimed, app2_url })),
          },
          { ...system, distro: '', type: '', version: '', warnings: [], applications: [] },
        ],
      };
      const document = billOfMaterials(report, { ...subject, images: [odd] });
      expect(await problemOf(document)).toBeUndefined();
      expect(document).not.toContain('javascript:');
    },
    VALIDATION_MS,
  );
});

describe('the exit code', () => {
  /** An error as a client gets it. */
  const failure = (code: status, reason?: string, seconds?: number): GuestfsRpcError => {
    const metadata = new Metadata();
    if (reason !== undefined) {
      const error = new GuestfsError(reason, '', seconds === undefined ? {} : { retryAfterMs: seconds * 1000 });
      metadata.set(DETAILS_TRAILER, encodeStatus(code, '', error, new Map()));
    }
    return new GuestfsRpcError('InspectionService/Inspect', { code, details: '', metadata });
  };

  test.each([
    ['no place is free', failure(status.RESOURCE_EXHAUSTED, 'TOO_MANY_SESSIONS', 5), 75],
    ['the server shuts down', failure(status.UNAVAILABLE, 'SHUTTING_DOWN', 5), 75],
    ['qemu was killed', failure(status.ABORTED, 'OUTCOME_UNKNOWN'), 75],
    ['the connection is lost', failure(status.UNAVAILABLE), 75],
    ['the image is not there', failure(status.NOT_FOUND, 'IMAGE_MISSING'), 1],
    ['the image crashes the kernel', failure(status.ABORTED, 'KERNEL_PANIC'), 1],
    ['it is no guestfs-grpc server', failure(status.UNIMPLEMENTED), 1],
    ['something else', new Error('no such file'), 1],
    ['the command line is unusable', new UsageError('missing'), 2],
  ])('if %s', (_case, error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });

  test('is explained in the help', () => {
    expect(readInspectCommandLine(['--help'])).toMatch(/75 failure, but the same command can succeed\s+later/);
  });
});

describe('the command line', () => {
  const directory = mkdtempSync(join(tmpdir(), 'inspect-command-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('names images, the server and keys', () => {
    const key = join(directory, 'key');
    writeFileSync(key, 'secret\n');
    const args = ['--server', 'tls:host:1', '--format', 'cyclonedx', '--image-format', 'qcow2'];
    expect(
      readInspectCommandLine([...args, '--key', '/dev/sda2:key:a:b', '--key', `/dev/sda3:file:${key}`, 'a', 'b']),
    ).toEqual({
      images: ['a', 'b'],
      server: 'tls:host:1',
      format: 'cyclonedx',
      imageFormat: 'qcow2',
      keys: [
        { device: '/dev/sda2', key: 'a:b' },
        { device: '/dev/sda3', key: 'secret' },
      ],
    });
  });

  test('has help', () => {
    expect(readInspectCommandLine(['--help'])).toContain('Usage: guestfs-grpc inspect [OPTIONS] IMAGE...');
  });

  test.each([
    [[], "missing required argument 'images'"],
    [['--format', 'spdx', 'a'], 'Allowed choices are json, cyclonedx'],
    [['--key', 'sda:x', 'a'], 'It must have the form DEVICE:key:PASSPHRASE or DEVICE:file:PATH'],
    [['--key', '/dev/sda:file:/nowhere/key', 'a'], 'ENOENT'],
    [['--no-such', 'a'], "unknown option '--no-such'"],
  ])('%j is refused', (args, message) => {
    expect(() => readInspectCommandLine(args)).toThrow(message);
  });

  test.each([
    ['host:50051', 'dns:///host:50051', false],
    ['tls:[::1]:1', 'dns:///[::1]:1', true],
    ['unix:/run/x', 'unix:/run/x', false],
  ])('%s is an address', (text, target, tls) => {
    expect(parseAddress(text)).toEqual({ target, tls });
  });

  test.each([
    '',
    'host',
    'host:',
    ':1',
    'host:0',
    'host:65536',
    'host:x',
    'unix:relative',
    'unix:relative:1',
    'tls:host',
  ])('"%s" is none', (text) => {
    expect(() => parseAddress(text)).toThrow('is not the address of a server');
  });
});
