/** The supply chain: bills of materials, licences, known vulnerabilities. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

import { describe, expect, test } from '@jest/globals';
import { root } from '../../architecture/sourceTree.js';

interface ServerPackage {
  readonly name: string;
  readonly version: string;
  readonly licence?: string;
  readonly folder: string;
}
interface AppliancePackage {
  readonly name: string;
  readonly version: string;
  readonly source: string;
  readonly homepage?: string;
  readonly copyrightFile?: string;
  readonly licences: readonly string[];
}
interface Copyright {
  licencesIn(text: string): string[];
  spdxName(name: string): string;
}
interface Allowed {
  refusedServerPackages(packages: readonly ServerPackage[]): string[];
  refusedAppliancePackages(packages: readonly AppliancePackage[]): string[];
}
interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures?: readonly string[];
  readonly skips?: readonly string[];
}

/** The schema takes a second to compile, npm one to start, both more on a busy machine. */
const LIMIT_MS = 60_000;

const script = (path: string): string => pathToFileURL(join(root, 'scripts', path)).href;
const { licencesIn, spdxName } = (await import(script('supply/copyright.mjs'))) as Copyright;
const { refusedServerPackages, refusedAppliancePackages } = (await import(
  script('supply/allowedLicences.mjs')
)) as Allowed;
const { serverPackages } = (await import(script('supply/serverPackages.mjs'))) as {
  serverPackages(): ServerPackage[];
};
const { parseStatus } = (await import(script('supply/appliancePackages.mjs'))) as {
  parseStatus(text: string): Map<string, Map<string, string>>;
};
const { applianceSbom } = (await import(script('supply/applianceSbom.mjs'))) as {
  applianceSbom(manifest: object, packages: readonly AppliancePackage[]): string;
};
const { serverSbom } = (await import(script('supply/serverSbom.mjs'))) as { serverSbom(): string };
const { problemOf } = (await import(script('supply/cyclonedx.mjs'))) as {
  problemOf(text: string): Promise<string | undefined>;
};
const { serverLicences } = (await import(script('supply/thirdParty.mjs'))) as {
  serverLicences(packages: readonly ServerPackage[]): string;
};
const { readAudit } = (await import(script('testing/audit.mjs'))) as { readAudit(output: string): object };

const bash: AppliancePackage = {
  name: 'bash',
  version: '5.2-1',
  source: 'bash',
  homepage: 'https://www.example.org/bash',
  copyrightFile: '/usr/share/doc/bash/copyright',
  licences: ['GPL-3.0-or-later', 'GPL-3+ with Bison exception'],
};

describe('npm packages of the server', () => {
  test('are its dependencies, under licences that are allowed', () => {
    const packages = serverPackages();
    const names = packages.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['@grpc/grpc-js', 'zod', 'protobufjs']));
    expect(names).not.toContain('typescript');
    // grpc-health-check and @grpc/reflection each have their own folder with the same version of one package.
    const versions = packages.map(({ name, version }) => `${name}@${version}`);
    expect(versions.filter((one, at) => versions.indexOf(one) !== at)).toEqual([]);
    expect(refusedServerPackages(packages)).toEqual([]);
  });

  test.each([
    ['MIT', []],
    ['(Apache-2.0 AND BSD-3-Clause)', []],
    ['(GPL-3.0-only OR MIT)', []],
    ['GPL-3.0-only', ['odd 1.0: GPL-3.0-only is not on the list']],
    ['(MIT AND GPL-2.0-or-later)', ['odd 1.0: (MIT AND GPL-2.0-or-later) is not on the list']],
    ['SEE LICENSE IN LICENSE', ['odd 1.0: SEE LICENSE IN LICENSE is not an SPDX expression']],
    [undefined, ['odd 1.0 states no licence']],
  ])('under %s', (licence, refused) => {
    const odd = { name: 'odd', version: '1.0', folder: '', ...(licence === undefined ? {} : { licence }) };
    expect(refusedServerPackages([odd])).toEqual(refused);
  });

  test('are listed with the texts of their licences', () => {
    const list = serverLicences(serverPackages());
    expect(list).toMatch(/^@grpc\/grpc-js 1\.14\.7: Apache-2\.0$/m);
    expect(list).toContain('Permission is hereby granted, free of charge');
  });
});

describe('licences in copyright files', () => {
  test('are the fields of machine-readable files, with alternatives and combinations split', () => {
    const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: example

Files: *
Copyright: 2020 Somebody
License: GPL-2+ or Artistic, and Expat
 The text: License: is no field here.

Files: m4/*
License: GPL-3+ with Autoconf exception

Files: lib/*
License: LGPLv3+_or_GPLv2+

Files: old/*
License: Permission to use, copy, modify, and distribute this software
`;
    expect(licencesIn(copyright)).toEqual([
      'Artistic-1.0-Perl',
      'GPL-2.0-or-later',
      'GPL-3+ with Autoconf exception',
      'LGPL-3.0-or-later',
      'MIT',
    ]);
  });

  test('are the texts that other files refer to', () => {
    const copyright = `This package was debianized by Somebody. License: see below.
On Debian systems, the texts are in /usr/share/common-licenses/GPL-2 and
/usr/share/common-licenses/LGPL-2.1. Also see \`/usr/share/common-licenses/GPL'.`;
    expect(licencesIn(copyright)).toEqual(['GPL', 'GPL-2.0-only', 'LGPL-2.1-only']);
    expect(licencesIn('Do as you like.')).toEqual([]);
  });

  test.each([
    ['GPL-2', 'GPL-2.0-only'],
    ['GPLv3+', 'GPL-3.0-or-later'],
    ['LGPL-2.1+', 'LGPL-2.1-or-later'],
    ['GFDL-NIV-1.3+', 'GFDL-1.3-no-invariants-or-later'],
    ['FDL-1.2+', 'GFDL-1.2-or-later'],
    ['BSD-3-clause', 'BSD-3-Clause'],
    ['expat', 'MIT'],
    ['ZLIB', 'Zlib'],
    ['public-domain', 'public-domain'],
    ['GPL-9', 'GPL-9'],
  ])('%s is %s', (name, spdx) => {
    expect(spdxName(name)).toBe(spdx);
  });
});

describe('Debian packages of the appliance', () => {
  test('have the fields of their stanzas', () => {
    const status = parseStatus(
      'Package: libacl1\nStatus: install ok installed\nSource: acl (2.3)\nVersion: 2.3-1\nDescription: lists\n more\n\n' +
        'Package: bash\nVersion: 5\n',
    );
    expect([...status.keys()]).toEqual(['libacl1', 'bash']);
    expect(status.get('libacl1')?.get('Source')).toBe('acl (2.3)');
    expect(status.get('libacl1')?.get('Description')).toBe('lists');
  });

  test('are refused without a copyright file, a licence, or under one that is not allowed', () => {
    const { copyrightFile: _, ...bare } = bash;
    expect(refusedAppliancePackages([bash])).toEqual([]);
    expect(refusedAppliancePackages([bare])).toEqual(['bash 5.2-1 has no copyright file in the appliance']);
    expect(refusedAppliancePackages([{ ...bash, licences: [] }])).toEqual([
      'bash 5.2-1: no licence was found in /usr/share/doc/bash/copyright',
    ]);
    expect(refusedAppliancePackages([{ ...bash, licences: ['CC-BY-NC-4.0'] }])).toEqual([
      'bash 5.2-1: CC-BY-NC-4.0 is not on the list',
    ]);
  });
});

describe('bills of materials', () => {
  const manifest = {
    suite: 'trixie',
    architecture: 'amd64',
    daemonVersion: '1.54.1',
    kernelVersion: '6.12',
    rootUuid: '0a82f0af-7f69-87dc-bd02-4abd1c649482',
    sourceDate: '2026-01-02T03:04:05.000Z',
    files: { root: { sha256: 'a4e8ede282e1233c363bb6357aaf1c61c0d4a50068b1890dfab010e411629c1f' } },
  };

  test(
    'of an appliance are CycloneDX, and the same for the same appliance',
    async () => {
      const document = applianceSbom(manifest, [bash]);
      expect(await problemOf(document)).toBeUndefined();
      expect(applianceSbom(manifest, [bash])).toBe(document);
      expect(JSON.parse(document)).toMatchObject({
        bomFormat: 'CycloneDX',
        metadata: { component: { components: [{ name: 'root', hashes: [{ alg: 'SHA-256' }] }] } },
        components: [
          {
            name: 'bash',
            purl: 'pkg:deb/debian/bash@5.2-1?arch=amd64&distro=trixie',
            licenses: [{ license: { name: 'GPL-3+ with Bison exception' } }, { license: { id: 'GPL-3.0-or-later' } }],
          },
        ],
      });
    },
    LIMIT_MS,
  );

  test(
    'of the server are CycloneDX, and have exactly the packages that it needs at run time',
    async () => {
      const document = serverSbom();
      expect(await problemOf(document)).toBeUndefined();
      const { metadata, components } = JSON.parse(document);
      expect(metadata.component.name).toBe('guestfs-grpc');
      const named = (components as { name: string; group?: string; version: string }[]).map(
        ({ name, group, version }) => `${group === undefined ? '' : `${group}/`}${name}@${version}`,
      );
      const wanted = serverPackages().map(({ name, version }) => `${name}@${version}`);
      expect([...new Set(named)].sort()).toEqual([...new Set(wanted)].sort());
    },
    LIMIT_MS,
  );

  test(
    'are checked against the schema',
    async () => {
      const broken = JSON.parse(applianceSbom(manifest, [bash]));
      broken.components[0].colour = 'green';
      expect(await problemOf(JSON.stringify(broken))).toContain('colour');
      expect(await problemOf('{"specVersion":"0.1"}')).toBe('its specVersion is 0.1');
    },
    LIMIT_MS,
  );
});

describe('the audit of npm packages', () => {
  test('distinguishes a report, another answer, and a failure', () => {
    expect(readAudit('{"auditReportVersion":2,"vulnerabilities":{}}')).toEqual({ findings: [] });
    expect(readAudit('{"message":"405 Method Not Allowed"}')).toEqual({ unanswered: '405 Method Not Allowed' });
    expect(readAudit('{"error":{"code":"ENOLOCK","summary":"no lockfile"}}')).toEqual({
      problem: 'npm audit made no report: no lockfile',
    });
    expect(readAudit('Segmentation fault')).toEqual({
      problem: 'npm audit printed no report: Segmentation fault',
    });
  });

  /** Runs the check against a registry with one version of each package; without an `answer`, it refuses queries. */
  async function check(answer: object | undefined): Promise<Tally> {
    const registry = createServer((request, response) => {
      request.resume();
      const name = decodeURIComponent((request.url ?? '').slice(1));
      const packument = { name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { name, version: '1.0.0' } } };
      if (request.method === 'POST' && answer === undefined) response.writeHead(405).end();
      else
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify(request.method === 'POST' ? answer : packument));
    });
    const cache = await mkdtemp(join(tmpdir(), 'npm-cache-'));
    registry.listen(0, '127.0.0.1');
    await once(registry, 'listening');
    try {
      const { port } = registry.address() as AddressInfo;
      const main = `import(process.argv[1]).then((it) => it.checkAdvisories()).then((it) => console.log(JSON.stringify(it)))`;
      const child = spawn(process.execPath, ['-e', main, script('testing/audit.mjs')], {
        stdio: ['ignore', 'pipe', 'ignore'],
        // With a separate cache, because npm keeps what it learns about vulnerabilities.
        env: { ...process.env, npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_cache: cache },
      });
      return JSON.parse(await text(child.stdout)) as Tally;
    } finally {
      registry.closeAllConnections();
      registry.close();
      await rm(cache, { recursive: true });
    }
  }

  test(
    'passes if the registry knows of no vulnerabilities',
    async () => {
      expect(await check({})).toEqual({ passed: 1, failed: 0, skipped: 0 });
    },
    LIMIT_MS,
  );

  test(
    'fails with each finding',
    async () => {
      const advisory = {
        id: 1,
        url: 'https://advisories.example.org/1',
        title: 'reads too far',
        severity: 'high',
        vulnerable_versions: '*',
      };
      // protobufjs is also a dependency of packages that the tests use.
      const tally = await check({ zod: [advisory], protobufjs: [{ ...advisory, id: 2 }] });
      expect(tally.passed + tally.skipped).toBe(0);
      expect(tally.failed).toBe(tally.failures?.length);
      expect(tally.failures).toEqual(
        expect.arrayContaining([
          'zod * (high): reads too far https://advisories.example.org/1',
          'protobufjs * (high): reads too far https://advisories.example.org/1',
        ]),
      );
    },
    LIMIT_MS,
  );

  test(
    'is skipped, with the reason, if the registry does not answer',
    async () => {
      const tally = await check(undefined);
      expect(tally).toMatchObject({ passed: 0, failed: 0, skipped: 1 });
      expect(tally.skips?.[0]).toMatch(/the registry does not answer advisories: 405/);
    },
    LIMIT_MS,
  );
});
