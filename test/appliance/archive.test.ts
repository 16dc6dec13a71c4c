import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';

import { Archive, parsePolicy } from '../../appliance-builder/archive.js';
import {
  findSources,
  parseAccessOptions,
  parseRepositories,
  sourcesForSuite,
} from '../../appliance-builder/sources.js';
import { findSuite } from '../../appliance-builder/suite.js';
import { quiet } from './context.js';

describe('parsePolicy', () => {
  it('reads candidates and leaves out what cannot be installed', () => {
    const text = `bash:
  Installed: (none)
  Candidate: 5.2.37-2+b10
  Version table:
     5.2.37-2+b10 500
libmagic1t64:amd64:
  Installed: (none)
  Candidate: 1:5.46-5
awk:
  Installed: (none)
  Candidate: (none)
`;
    expect([...parsePolicy(text)]).toEqual([
      ['bash', '5.2.37-2+b10'],
      ['libmagic1t64', '1:5.46-5'],
    ]);
  });
});

describe('apt on a machine without package lists', () => {
  const directory = mkdtempSync(join(tmpdir(), 'archive-'));
  const suite = findSuite('trixie');
  const { APT_CONFIG } = process.env;

  function useSources(text: string): void {
    const [sources, configuration] = [join(directory, 'sources.list'), join(directory, 'apt.conf')];
    writeFileSync(sources, text);
    writeFileSync(
      configuration,
      [
        ...[`Dir::Etc::sourcelist "${sources}";`, 'Dir::Etc::sourceparts "/dev/null";'],
        ...['Acquire::Retries "0";', 'Acquire::http::Proxy::127.0.0.1 "DIRECT";'],
      ].join('\n'),
    );
    process.env['APT_CONFIG'] = configuration;
  }

  afterAll(() => {
    if (APT_CONFIG === undefined) delete process.env['APT_CONFIG'];
    else process.env['APT_CONFIG'] = APT_CONFIG;
    rmSync(directory, { recursive: true });
  });

  it('still has its mirrors', async () => {
    useSources('deb http://127.0.0.1:9/debian bookworm main\ndeb http://127.0.0.1:9/security bookworm-security main\n');
    const lines = await findSources(quiet(), suite);
    expect(lines.map((line) => line.replace(/\[.*\] /, ''))).toEqual([
      'deb http://127.0.0.1:9/debian trixie main',
      'deb http://127.0.0.1:9/debian trixie-updates main',
      'deb http://127.0.0.1:9/security trixie-security main',
    ]);
  });

  it('does not take an archive that cannot be reached for an empty one', async () => {
    useSources('deb http://127.0.0.1:9/debian trixie main\n');
    const opened = Archive.open(quiet(), suite, join(directory, 'archive'));
    await expect(opened).rejects.toThrow(/apt-get update[^]*127\.0\.0\.1/);
  });

  it("uses mmdebstrap's mirrors if it has none of Debian", async () => {
    useSources('');
    expect(await findSources(quiet(), suite)).toContainEqual(expect.stringMatching(/^deb .*\btrixie main$/));
  });
});

describe('the sources of a suite', () => {
  const host = parseRepositories(
    [
      'https://packages.example.org/node/|nodistro|main|Example',
      'http://mirror.example.com/debian/|bookworm|main|Debian',
      'http://mirror.example.com/debian/|bookworm|contrib|Debian',
      'http://mirror.example.com/debian/|bookworm-updates|main|$(ORIGIN)',
      'http://mirror.example.com/security/|bookworm-security|main|Debian',
      '',
    ].join('\n'),
  );

  it('are on the mirrors of the machine, for the suite', () => {
    expect(sourcesForSuite(findSuite('trixie'), host).map((line) => line.replace(/\[.*\] /, ''))).toEqual([
      'deb http://mirror.example.com/debian trixie main',
      'deb http://mirror.example.com/debian trixie-updates main',
      'deb http://mirror.example.com/security trixie-security main',
    ]);
  });

  it('are one line for a suite without companions', () => {
    expect(sourcesForSuite(findSuite('sid'), host).map((line) => line.replace(/\[.*\] /, ''))).toEqual([
      'deb http://mirror.example.com/debian sid main',
    ]);
  });

  it('trust only the keys of Debian', () => {
    for (const line of sourcesForSuite(findSuite('trixie'), host))
      expect(line).toContain('[signed-by=/usr/share/keyrings/');
  });

  it('omit the security mirror if the machine has none', () => {
    const withoutSecurity = host.filter(({ release }) => !release.endsWith('-security'));
    expect(sourcesForSuite(findSuite('bookworm'), withoutSecurity)).toHaveLength(2);
  });

  it('are none on a machine without a Debian mirror', () => {
    const ubuntu = parseRepositories('http://mirror.example.com/ubuntu/|noble|main|Ubuntu\n');
    expect(sourcesForSuite(findSuite('trixie'), ubuntu)).toEqual([]);
    const derivative = parseRepositories('http://mirror.example.com/other/|stable|main|Other\n');
    expect(sourcesForSuite(findSuite('trixie'), derivative)).toEqual([]);
  });
});

describe('parseAccessOptions', () => {
  it('takes proxies and validity checks and nothing else', () => {
    const dump = `APT "";
APT::Architecture "amd64";
Acquire "";
Acquire::Check-Valid-Until "false";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example.com:3128/";
Acquire::Languages "none";
Dir::Cache "var/cache/apt";
DPkg::Post-Invoke:: "rm -f /x";
`;
    expect(parseAccessOptions(dump)).toEqual([
      'Acquire::Check-Valid-Until "false";',
      'Acquire::http::Proxy "http://proxy.example.com:3128/";',
    ]);
  });
});

describe('findSuite', () => {
  it('lists the known suites', () => {
    expect(() => findSuite('warty')).toThrow(
      "unknown suite 'warty'; an appliance can be built from bookworm, trixie, forky, sid",
    );
  });
});
