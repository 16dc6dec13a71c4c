/** The reference is correct, as far as can be checked without an appliance: its errors and its example requests. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { allActions, areas } from '../../../src/actions/areas.js';
import { hasRpc, isFileIn, isStreamedAnswer, needsDaemon } from '../../../src/actions/shape.js';
import { emitAreaReference, emitReferenceIndex } from '../../../src/generator/emitReference.js';
import { entriesOf, type Entry } from '../../../src/generator/entry.js';
import { grpcurl } from '../../../src/generator/exampleCommand.js';
import { exampleFile, exampleRequest } from '../../../src/generator/exampleValues.js';
import { knownErrors } from '../../../src/generator/knownErrors.js';
import { requestFields } from '../../../src/generator/shape.js';
import type { LibraryContext } from '../../../src/library/context.js';
import { versionActions } from '../../../src/library/version.js';
import { MAX_DRIVES } from '../../../src/qemu/limits.js';
import { ALLOWABLE } from '../../../src/security/policy.js';
import { checkArguments } from '../../../src/server/checkArguments.js';
import { knownReasons, statusOf } from '../../../src/server/statusMapping.js';
import { actionNamed, decodedExample } from '../../support/exampleCalls.js';

const actions = allActions.filter(hasRpc);
const entries = areas.filter(({ service }) => service !== undefined).flatMap(entriesOf);
const JSON_TYPES: Readonly<Record<string, string>> = {
  string: 'string',
  bytes: 'string',
  bool: 'boolean',
  int32: 'number',
  int64: 'string',
  StringList: 'object',
};

function entryOf(name: string): Entry {
  const entry = entries.find((one) => one.name === name);
  if (entry === undefined) throw new Error(`no entry ${name}`);
  return entry;
}

/** The preconditions, including the version. */
const factsOf = (name: string): string => entryOf(name).facts.join('\n');
const reasonsOf = (name: string): string[] => knownErrors(actionNamed(name)).map(({ reason }) => reason);
const commentOf = (name: string, field: string): string =>
  entryOf(name).fields.find((one) => one.name === field)?.comment ?? '';

/** The words into which a shell splits each command; all are calls of grpcurl. */
function wordsOf(commands: readonly string[]): string[][] {
  const script = `grpcurl() { for word in "$@"; do printf '%s\\0' "$word"; done; printf '\\n\\0'; }\n${commands.join('\n')}\n`;
  const output = execFileSync('sh', { input: script, encoding: 'utf8', maxBuffer: 1 << 24 });
  return output
    .split('\n\0')
    .slice(0, -1)
    .map((words) => words.split('\0').slice(0, -1));
}

describe('examples', () => {
  it.each(actions.map((action) => [action.name, action] as const))(
    '%s is given what it needs, of the right types',
    (_name, action) => {
      const example = exampleRequest(action);
      const fields = requestFields(action);
      const required = action.args.filter(
        ({ type, name }) => type !== 'opt_string' && fields.some((field) => field.name === name),
      );
      expect(Object.keys(example)).toEqual(expect.arrayContaining(required.map(({ name }) => name)));
      for (const [name, value] of Object.entries(example)) {
        const field = fields.find((one) => one.name === name);
        const first: unknown = field?.label === 'repeated ' ? ((value as readonly string[])[0] ?? '') : value;
        expect([name, typeof first]).toEqual([name, JSON_TYPES[field?.type ?? '']]);
        if (field?.type === 'int64') expect(value).toMatch(/^-?\d+$/);
        if (field?.type === 'bytes') expect(Buffer.from(value as string, 'base64').toString('base64')).toBe(value);
        expect(first).not.toBe('example');
      }
      expect(() => checkArguments(action, decodedExample(action))).not.toThrow();
    },
  );

  it('do not write to the disk of the guest, or to the example image', () => {
    const writing = actions.filter(({ mutating, name }) => mutating && !/mount|inspect/.test(name));
    expect(
      writing.filter((action) => /"\/dev\/sda1?"/.test(JSON.stringify(exampleRequest(action)))).map(({ name }) => name),
    ).toEqual(['grub_install']);
    expect(exampleRequest(actionNamed('disk_create'))['filename']).not.toBe('disk.img');
    expect(exampleRequest(actionNamed('upload'))['remotefilename']).toMatch(/^\/tmp\//);
  });

  it('copy to somewhere else', () => {
    for (const action of actions) {
      const { src, dest } = exampleRequest(action);
      if (src !== undefined && dest !== undefined) expect([action.name, src]).not.toEqual([action.name, dest]);
    }
  });

  it('are parsed by a shell as intended', () => {
    const words = wordsOf(entries.map(({ example }) => example));
    expect(words).toHaveLength(entries.length);
    for (const [index, { name, service, rpc }] of entries.entries()) {
      const line = words[index] ?? [];
      expect(line.at(-1)).toBe(`guestfs.v1.${service}/${rpc}`);
      const action = actions.find((one) => one.name === name);
      if (action === undefined) continue;
      expect(line.slice(0, 3)).toEqual(['-plaintext', '-H', 'guestfs-session: ID']);
      const data = line[line.indexOf('-d') + 1] ?? '';
      const request = JSON.stringify(exampleRequest(action));
      const chunk = isFileIn(action) ? exampleFile(action).toString('base64') : '';
      expect(data).toBe(isFileIn(action) ? `{"arguments":${request}} {"chunk":"${chunk}"}` : request);
    }
  });

  it('can have quotes in them', () => {
    const data = `{"path":"it's $HOME \\\\ 'here'"}`;
    expect(wordsOf([grpcurl('FileService/Rm', data, "o'id")])).toEqual([
      ['-plaintext', '-H', "guestfs-session: o'id", '-d', data, '127.0.0.1:50051', 'guestfs.v1.FileService/Rm'],
    ]);
  });
});

describe('needs', () => {
  it('are state READY for each action that needs the daemon, or queries its appliance', () => {
    const texts = Object.fromEntries(actions.map(({ name }) => [name, factsOf(name).includes('state READY')]));
    expect(texts).toEqual(
      Object.fromEntries(actions.map((action) => [action.name, needsDaemon(action) || action.readyOnly === true])),
    );
  });
});

describe('errors', () => {
  it('have the status that their reason has', () => {
    const wrong = actions.flatMap((action) =>
      knownErrors(action)
        .filter((one) => status[statusOf(one.reason)] !== one.status)
        .map((one) => [action.name, one]),
    );
    expect(wrong).toEqual([]);
  });

  it('are listed for most actions', () => {
    expect(actions.filter((action) => knownErrors(action).length > 0).length).toBeGreaterThan(actions.length * 0.8);
  });

  it('name an alternative to an action whose message would be too large', () => {
    const texts = actions.flatMap((action) =>
      knownErrors(action)
        .filter(({ reason }) => reason === 'MESSAGE_TOO_LARGE')
        .map(({ when }) => `${action.name}: ${when}`),
    );
    expect(texts).toEqual(
      expect.arrayContaining([
        'cat: the answer does not fit into one message (4 MiB): use Download, which streams, or Pread for a part',
        "write: the arguments take more than the server's memory for large requests (`--request-memory`): use Upload, which streams",
        'pwrite: the arguments do not fit into one message (4 MiB): use UploadOffset, which streams, or write less at a time',
        'vfs_type: the answer does not fit into one message (4 MiB)',
      ]),
    );
    const alternatives = actions
      .filter((action) => !isStreamedAnswer(action))
      .flatMap(({ insteadOfLargeAnswer, insteadOfLargeRequest }) => [insteadOfLargeAnswer, insteadOfLargeRequest])
      .filter((instead) => instead !== undefined);
    expect(texts.filter((one) => /(MiB|--request-memory`)\): /.test(one))).toHaveLength(alternatives.length);
  });

  it('are listed once', () => {
    for (const action of actions) {
      const rows = knownErrors(action).map((row) => JSON.stringify(row));
      expect([action.name, new Set(rows).size]).toEqual([action.name, rows.length]);
    }
  });

  it.each([
    'exists',
    'is_dir',
    'is_file',
    'is_blockdev',
    'is_chardev',
    'is_fifo',
    'is_socket',
    'is_symlink',
    'rm_f',
    'rm_rf',
    'mkdir_p',
    'glob_expand',
  ])('of %s do not include a missing file or device', (name) => {
    expect(reasonsOf(name)).not.toContain('ENOENT');
  });

  it.each(['rm', 'rmdir', 'chmod', 'utimens', 'swapoff_file'])(
    'of %s do not include an errno for lack of space',
    (name) => {
      expect(reasonsOf(name)).not.toContain('ENOSPC');
    },
  );

  it.each<[string, readonly string[]]>([
    ['add_drive', ['OUTSIDE_IMAGE_ROOTS', 'IMAGE_MISSING', 'IMAGE_UNUSABLE', 'EEXIST', 'NOT_ALLOWED']],
    ['remove_drive', ['EBUSY', 'ENOENT']],
    ['launch', ['WRONG_STATE', 'NO_DRIVES', 'IMAGE_LOCKED', 'LAUNCH_TIMEOUT', 'KVM_UNUSABLE', 'OUT_OF_MEMORY']],
    ['cat', ['ENOENT']],
    ['write', ['ENOSPC']],
    ['setfiles', ['ACTION_NOT_IN_DAEMON']],
    ['copy_in', ['NOT_ALLOWED', 'OUTSIDE_IMAGE_ROOTS']],
    ['mount_local', ['NOT_OVER_NETWORK']],
  ])('of %s also include %j', (name, expected) => {
    expect(reasonsOf(name)).toEqual(expect.arrayContaining([...expected]));
  });

  it('of an upload have no errno for a full file system', () => {
    const full = knownErrors(actionNamed('upload')).filter(({ when }) => when === 'the file system is full');
    expect(full.map(({ reason }) => reason)).toEqual(['DAEMON_ERROR']);
  });

  it('of an upload do not require that the file exists', () => {
    const absent = knownErrors(actionNamed('upload')).filter(({ when }) => /there is no `remotefilename`/.test(when));
    expect(absent).toEqual([]);
  });

  it('are all in the document on errors, with their status', () => {
    const rows = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| ([A-Z][A-Z0-9_]+) \| ([A-Z_]+) \|/gm)].map(
      ([, reason = '', code = '']) => [reason, code],
    );
    expect(new Map(rows as [string, string][])).toEqual(
      new Map(knownReasons.map((reason) => [reason, status[statusOf(reason)]])),
    );
    expect(rows).toHaveLength(knownReasons.length);
  });
});

describe('what an action needs', () => {
  it('is a version of the daemon only if the daemon does it', () => {
    for (const { name, impl, since } of actions) {
      expect([name, factsOf(name).includes(`libguestfs ${since} or newer`)]).toEqual([name, impl === 'daemon']);
      expect([name, factsOf(name).includes(`since ${since}; implemented by this server, for any daemon`)]).toEqual([
        name,
        impl === 'library',
      ]);
    }
  });

  it.each([
    ['get_pid', 'state READY'],
    ['wait_ready', 'state READY'],
    ['launch', 'state CONFIG'],
    ['mkdir', 'state READY'],
  ])('%s: %s', (name, state) => {
    expect(factsOf(name)).toContain(state);
  });

  it('is what the operator of the server can allow', () => {
    const permissions = actions.flatMap(({ permissions: own = [] }) => own.map(({ permission }) => permission));
    // Others are of services that have no actions.
    const ofServices = ['channelz', 'drain'];
    expect([...new Set(permissions), ...ofServices].sort()).toEqual([...ALLOWABLE].sort());
    for (const action of actions)
      for (const { permission } of action.permissions ?? [])
        expect(factsOf(action.name)).toContain(`\`--allow ${permission}\``);
  });

  it.each([
    ['copy_in', 'localpath'],
    ['copy_out', 'localdir'],
    ['add_drive', 'filename'],
    ['disk_create', 'filename'],
    ['disk_create', 'backingfile'],
    ['disk_format', 'filename'],
  ])('%s: %s under an image root', (name, field) => {
    expect(factsOf(name)).toContain('`--image-root`');
    expect(commentOf(name, field)).toContain('image roots');
  });

  it('is empty if the action is refused anyway', () => {
    for (const action of actions.filter(({ notOverNetwork }) => notOverNetwork !== undefined)) {
      expect(factsOf(action.name)).not.toContain('needs:');
      expect(entryOf(action.name).description).toContain(action.notOverNetwork?.instead);
      expect(entryOf(action.name).errors?.map(({ reason }) => reason)).toEqual(['NOT_OVER_NETWORK']);
    }
  });
});

describe('fields', () => {
  it.each([
    ['setfiles', 'excludes', '1.61.1'],
    ['tar_in', 'keepdirlink', '1.59.1'],
    ['e2fsck', 'forceno', '1.55.13'],
    ['cryptsetup_open', 'cipher', '1.53.3'],
  ])('of %s: %s is since %s', (name, field, since) => {
    expect(commentOf(name, field)).toContain(`Since libguestfs ${since}`);
    expect(
      knownErrors(actionNamed(name)).filter(
        ({ reason, when }) =>
          reason === 'ACTION_NOT_IN_DAEMON' && when.includes(`\`${field}\``) && when.includes(since),
      ),
    ).toHaveLength(1);
  });

  it('that are lists of strings are optional, and have a JSON form', () => {
    const page = emitAreaReference(areas.find(({ name }) => name === 'drive') as (typeof areas)[number]);
    expect(page).toMatch(/\| `server` \| optional StringList \|[^\n]*`\{ "values": \["..."\] \}`/);
  });

  it('of add_drive are all explained', () => {
    expect(
      entryOf('add_drive')
        .fields.filter(({ comment }) => comment === '')
        .map(({ name }) => name),
    ).toEqual([]);
    expect(entryOf('add_drive').guides).toEqual([{ text: 'more about it', path: 'docs/network-drives.md' }]);
  });
});

describe('guides', () => {
  it('are there', () => {
    for (const { guides } of entries)
      for (const { path } of guides) expect([path, existsSync(path)]).toEqual([path, true]);
  });
});

describe('lists of actions', () => {
  const index = emitReferenceIndex(areas);
  const lineOf = (name: string): string => index.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? '';

  it('have the RPCs that are not actions', () => {
    expect(lineOf('Inspect')).toContain('(inspection.md#inspect)');
  });

  it('show which are deprecated', () => {
    for (const { name, deprecated } of actions)
      expect([name, lineOf(name).endsWith(' (deprecated) |')]).toEqual([name, deprecated === true]);
  });

  it('recommend only existing actions', () => {
    expect(entries.filter(({ deprecated = '' }) => deprecated.includes('internal_')).map(({ name }) => name)).toEqual(
      [],
    );
    for (const name of ['get_direct', 'set_direct'])
      expect(entryOf(name).description).toContain('EventService/Subscribe');
  });
});

describe('descriptions', () => {
  const textOf = (name: string): string => `${entryOf(name).summary}. ${entryOf(name).description}`;

  it.each(['set_direct', 'get_direct', 'set_pgroup', 'get_pgroup', 'set_recovery_proc', 'get_recovery_proc'])(
    'say that %s has no effect',
    (name) => {
      expect(textOf(name)).toMatch(/no effect|without effect/);
    },
  );

  it('state the number of drives that a session has', () => {
    expect(textOf('max_disks')).toContain(`Always ${MAX_DRIVES}`);
  });

  it('state the version that is returned before launch', async () => {
    const { version } = await versionActions.version({ session: {} } as unknown as LibraryContext, {});
    expect(textOf('version')).toContain(`before launch it is ${version?.major}.${version?.minor}.${version?.release}`);
  });

  it.each<[string, RegExp, RegExp]>([
    ['feature_available', /Both fail for a name/, /missing or unknown/],
    ['launch', /can be launched again/, /launched once/],
    ['kill_subprocess', /fail at once/, /^.*shutdown`, which does the same/],
    ['set_backend', /Only `direct`/, /Typical values/],
    ['set_backend_settings', /force_tcg/, /depends on the backend/],
    ['get_hv', /or else the default/, /the call then fails/],
    ['get_sockdir', /the one that get_tmpdir returns/, /kept short/],
    ['set_identifier', /does not appear in trace messages/, /appears in trace/],
    ['get_identifier', /set_identifier/, /marks the session's trace messages/],
    ['set_program', /changes nothing/, /for information only/],
    ['dd', /room for all of the source/, /at least as large as/],
    ['disk_create', /`off` \(default\), `sparse`/, /^$/],
    ['scrub_freespace', /existing directory/, /the call itself creates/],
    ['grub_install', /BIOS boot partition/, /legacy/],
  ])('of %s are correct here', (name, right, wrong) => {
    expect(textOf(name)).toMatch(right);
    expect(textOf(name)).not.toMatch(wrong);
  });
});
