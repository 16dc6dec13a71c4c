/** Domains that are read at the same time. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { onBehalfOf } from '../../../src/common/onBehalf.js';
import { abortController, linkedAbort } from '../../../src/common/waiting.js';
import { addDomain } from '../../../src/library/domain/addDomain.js';
import { failureOf } from '../../fakes/connected.js';
import { eventually } from '../../support/eventually.js';
import { tarArchive } from '../../support/tarArchive.js';
import { aside } from './fakes.js';

/** More than one client may have read at a time, and wait. */
const CALLS = 4 + 64 + 3;

let directory: string;
const path = process.env['PATH'];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-virsh-'));
  process.env['PATH'] = `${directory}:${path ?? ''}`;
});
afterEach(() => {
  process.env['PATH'] = path;
  rmSync(directory, { recursive: true });
});

it('are four of a client, then some wait, and the rest is refused', async () => {
  const log = join(directory, 'log');
  // A libvirt that does not answer.
  writeFileSync(join(directory, 'virsh'), `#!/bin/sh\necho $$ >>${log}\nexec sleep 60\n`);
  chmodSync(join(directory, 'virsh'), 0o755);
  const client = abortController();
  onBehalfOf('somebody', client.signal);
  const calls = Array.from({ length: CALLS }, () => {
    const context = aside('add_domain', { signal: linkedAbort([client.signal]).signal });
    return failureOf(addDomain(context, { dom: 'a' }));
  });
  const refused = await Promise.all(calls.slice(-3));
  for (const failure of refused)
    expect(failure).toMatchObject({ reason: 'LIMIT_EXCEEDED', details: { metadata: { limit: 'domains-waiting' } } });
  const other = abortController();
  onBehalfOf('somebody else', other.signal);
  const elsewhere = failureOf(addDomain(aside('add_domain', { signal: other.signal }), { dom: 'a' }));
  const started = (): number => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').length : 0);
  await eventually(() => started() === 5);
  client.abort(new Error('given up'));
  other.abort(new Error('given up'));
  await Promise.all([...calls, elsewhere]);
  expect(started()).toBe(5);
});

it('has a drive for each disk in an OVA that is one of its disks', async () => {
  const disk = Buffer.concat([Buffer.from('conectix'), Buffer.alloc(1016)]);
  const archive = join(directory, 'a.ova');
  writeFileSync(
    archive,
    tarArchive([
      { name: 'a.ovf', content: 'text' },
      { name: 'one.img', content: Buffer.alloc(1024) },
      { name: 'two.vhd', content: disk },
    ]),
  );
  const xml = `<domain type="kvm"><name>a</name><devices><disk type="file"><source file="${archive}"/></disk></devices></domain>`;
  writeFileSync(join(directory, 'virsh'), `#!/bin/sh\necho '${xml}'\n`);
  chmodSync(join(directory, 'virsh'), 0o755);
  const context = aside('add_domain', { imageRoots: { directories: [directory] } });
  expect(await addDomain(context, { dom: 'a', readonly: true })).toBe(1);
  expect(context.session.drives.map(({ source }) => source)).toMatchObject([{ disk: 'one.img' }, { disk: 'two.vhd' }]);
});
