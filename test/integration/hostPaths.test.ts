/**
 * No answer, error, event or log that a client gets reveals where the server keeps its files: every action with text in
 * its answer is called on a server whose directories all have a marker in their names.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { allActions } from '../../src/actions/areas.js';
import { hasRpc, isFileIn, isFileOut, needsDaemon } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import { hostArchitecture } from '../../src/qemu/arch.js';
import { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { builtAppliance, describeWithAppliance } from '../support/appliance.js';
import { callExample, decodedExample } from '../support/exampleCalls.js';
import { emptyImage } from '../support/diskImages.js';
import { describeDomain, type TestDomain } from '../support/libvirtDomains.js';
import { serverForTests, settings } from '../support/scene.js';
import { imageDrive, SessionClient, type TestClient } from '../support/testClient.js';

const MARKER = 'marked-by-host-paths';
/** These end or start the appliance, or wait. */
const LIFE = new Set(['launch', 'shutdown', 'kill_subprocess', 'user_cancel']);
/** These take long, or remove the drive. */
const LEFT_OUT = /^(scrub_|zero_|fill|sync$|dd$|remove_drive$|internal_|journal|inspect_|debug_upload|ntfsclone|hivex)/;

/** All parts of an error that are sent to the client. */
function wordsOf(error: unknown): string {
  if (!(error instanceof GuestfsRpcError)) throw error;
  return `${error.message} ${error.details} ${JSON.stringify(error.info)}`;
}

function textOf(answer: unknown): string {
  return JSON.stringify(answer, (_key, value: unknown) => {
    if (typeof value === 'bigint') return String(value);
    if (value instanceof Map) return [...value.entries()];
    return value;
  });
}

/** Everything that the client receives. */
async function told(work: Promise<unknown>): Promise<string> {
  return work.then(
    (answer) => (Buffer.isBuffer(answer) ? answer.toString('latin1') : (textOf(answer) ?? '')),
    (error: unknown) => wordsOf(error),
  );
}

const hasText = ({ returns }: ActionDef): boolean => /string|struct|hash|buffer/.test(JSON.stringify(returns));

describeWithAppliance('paths of the host', () => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), `guestfs-grpc-test-${MARKER}-`)));
  const inBase = (name: string): string => join(base, name);
  for (const name of ['images', 'tmp', 'cache', 'home', 'bin', 'libvirt']) mkdirSync(inBase(name));
  const { qemuBinary } = hostArchitecture();
  symlinkSync(`/usr/bin/${qemuBinary}`, inBase(`bin/${qemuBinary}`));
  symlinkSync(builtAppliance('trixie') ?? '/nosuch', inBase('appliance'));
  const environment = {
    HOME: inBase('home'),
    TMPDIR: inBase('tmp'),
    LIBGUESTFS_TMPDIR: inBase('tmp'),
    LIBGUESTFS_CACHEDIR: inBase('cache'),
    LIBGUESTFS_PATH: inBase('appliance'),
    LIBGUESTFS_HV: inBase(`bin/${qemuBinary}`),
  };
  const permissions = ['host-actions', 'custom-qemu', 'network', 'backing-files', 'block-devices', 'remote-drives'];
  const scene = serverForTests(() => ({
    temporary: inBase('tmp'),
    env: environment,
    flags: ['--image-root', inBase('images'), '--debug-service', ...permissions.flatMap((one) => ['--allow', one])],
  }));
  afterAll(() => rmSync(base, { recursive: true }));

  /** Answers with the marker, with the names of their calls. */
  const found: string[] = [];
  const hear = async (name: string, work: Promise<unknown>): Promise<void> => {
    const words = await told(work);
    if (words.includes(MARKER)) found.push(`${name}: ${words.slice(0, 300)}`);
  };
  let client: TestClient;
  beforeAll(() => {
    ({ client } = scene);
    emptyImage(inBase('images/disk.img'), 64);
    writeFileSync(
      inBase('images/broken.qcow2'),
      Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x09', 'latin1'), Buffer.alloc(600)]),
    );
    writeFileSync(inBase('images/empty.img'), '');
  });

  it('are not revealed before the launch', async () => {
    const { id } = await client.createSession({
      drives: [imageDrive('disk.img')],
      settings: settings({ verbose: true }),
    });
    const session = new SessionClient(client, id);
    const { events } = await client.subscribe(id);
    const library = allActions.filter((action) => hasRpc(action) && !needsDaemon(action) && !LIFE.has(action.name));
    for (const action of library) await hear(action.name, callExample(session, action));
    for (const name of ['disk_format', 'disk_virtual_size', 'disk_has_backing_file'])
      for (const filename of ['disk.img', 'broken.qcow2', 'empty.img', 'nosuch', '../tmp', '.'])
        await hear(name, session.call(name, { filename }));
    for (const filename of ['disk.img', 'broken.qcow2', 'empty.img', 'nosuch', '../tmp/x', '.', ''])
      await hear('add_drive', session.call('add_drive', { filename }));
    await hear('parse_environment', session.call('parse_environment'));
    for (const action of library.filter(({ name }) => /^get_|^debug_drives/.test(name)))
      await hear(`${action.name} after parse_environment`, session.call(action.name, decodedExample(action)));
    for (const name of ['set_path', 'set_hv', 'set_tmpdir', 'set_cachedir'])
      await hear(name, session.call(name, { hv: '', searchpath: '', tmpdir: '', cachedir: '' }));
    const disk = { format: 'qcow2', size: -1n, backingfile: 'disk.img', backingformat: 'raw' };
    for (const filename of ['over.qcow2', 'nosuch/over.qcow2', '../over.qcow2', '.'])
      await hear('disk_create', session.call('disk_create', { filename, ...disk }));
    await hear('GetSession', client.getSession(id));
    await hear('GetLog', client.getLog(id));
    await client.deleteSession(id);
    expect(events.map(textOf).filter((event) => event.includes(MARKER))).toEqual([]);
    expect(found.splice(0)).toEqual([]);
  });

  it.each([
    ['an image that is not in its stated format', [imageDrive('broken.qcow2', { format: 'qcow2' })]],
    ['an empty image', [imageDrive('empty.img')]],
    ['an image that is attached twice', [imageDrive('disk.img'), imageDrive('disk.img')]],
    ['a chain that is broken', [imageDrive('sub/chain.qcow2', { format: 'qcow2', writable: false })]],
  ])('are not revealed by a launch that fails: %s', async (what, drives) => {
    const chain = {
      filename: 'sub/chain.qcow2',
      format: 'qcow2',
      size: -1n,
      backingformat: 'raw',
      backingfile: 'gone.img',
    };
    if (what.includes('chain')) {
      mkdirSync(inBase('images/sub'));
      emptyImage(inBase('images/gone.img'), 1);
      const { id } = await client.createSession();
      await new SessionClient(client, id).call('disk_create', chain);
      rmSync(inBase('images/gone.img'));
      await client.deleteSession(id);
    }
    const failed = await told(client.createSession({ drives, launch: true, settings: settings({ verbose: true }) }));
    expect(failed).toMatch(/image|drive|disk/);
    expect(failed).not.toContain(MARKER);
  });

  it('are not revealed by a domain, or by errors about it', async () => {
    const domain = (name: string, file: string): TestDomain => ({
      name,
      uuid: `00000000-0000-4000-8000-${String(name.length).padStart(12, '0')}`,
      disks: `<disk type="file" device="disk"><source file="${inBase(file)}"/><target dev="vda"/></disk>`,
    });
    const domains = [domain('good', 'images/disk.img'), domain('outside', 'tmp/x'), domain('missing', 'images/nosuch')];
    // The client chose this file, so its name does not come from the server.
    const directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-libvirt-'));
    writeFileSync(join(directory, 'node.xml'), `<node>${domains.map(describeDomain).join('')}</node>`);
    const libvirturi = `test://${directory}/node.xml`;
    const { id } = await client.createSession();
    const session = new SessionClient(client, id);
    for (const { name } of domains)
      await hear(name, session.call('add_domain', { dom: name, libvirturi, readonly: true }));
    await hear('debug_drives', session.call('debug_drives'));
    await client.deleteSession(id);
    rmSync(directory, { recursive: true });
    expect(found.splice(0)).toEqual([]);
  });

  it('are not revealed by a running appliance', async () => {
    const created = await client.createSession({
      drives: [imageDrive('disk.img')],
      settings: settings({ verbose: true, trace: true }),
    });
    const session = new SessionClient(client, created.id);
    const { events } = await client.subscribe(created.id);
    await session.call('launch');
    await session.call('part_disk', { device: '/dev/sda', parttype: 'mbr' });
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda1' });
    await session.call('mount', { mountable: '/dev/sda1', mountpoint: '/' });
    const texts = allActions.filter(
      (action) =>
        hasRpc(action) &&
        !LIFE.has(action.name) &&
        !LEFT_OUT.test(action.name) &&
        (hasText(action) || isFileOut(action)) &&
        !isFileIn(action),
    );
    expect(texts.length).toBeGreaterThan(100);
    for (const action of texts) await hear(action.name, callExample(session, action));
    for (const subcmd of ['help', 'env', 'ls', 'ldd', 'print', 'sh', 'fds'])
      await hear(
        `debug ${subcmd}`,
        session.call('debug', { subcmd, extraargs: subcmd === 'sh' ? ['cat /proc/cmdline /proc/mounts'] : ['/'] }),
      );
    await hear('GetSession', client.getSession(created.id));
    await hear('GetLog', client.getLog(created.id));
    await client.deleteSession(created.id);
    expect(events.length).toBeGreaterThan(10);
    expect(events.map(textOf).filter((event) => event.includes(MARKER))).toEqual([]);
    expect(found.splice(0)).toEqual([]);
  });
});
