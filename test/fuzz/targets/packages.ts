/** The package databases of guests: dpkg, apk, pacman and the Windows registry. (RPM data arrives in a reply.) */
import { filesize, isFile } from '../../../gen/calls/file.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { listApkApplications } from '../../../src/library/applications/apk.js';
import { oldForm, sorted } from '../../../src/library/applications/application.js';
import { listDebApplications } from '../../../src/library/applications/deb.js';
import { parsePacmanDescription } from '../../../src/library/applications/pacman.js';
import { listWindowsApplications } from '../../../src/library/applications/windows.js';
import type { LibraryContext } from '../../../src/library/context.js';
import { linesOfFile } from '../../../src/library/guestFile.js';
import type { Daemon } from '../../../src/session/daemon.js';
import { ensure, unlessRejected, type Target } from '../engine/target.js';
import { cut, inPieces } from './pieces.js';

const signal = new AbortController().signal;
const ROOT = '/dev/sda1';
/** Without a limit, a registry in which every key exists would never end; a real one has a few thousand keys. */
const MOST_KEYS = 64;

/** A guest whose only file arrives in these pieces. */
function guestWith(pieces: readonly Buffer[]): LibraryContext {
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const daemon: Pick<Daemon, 'call' | 'download'> = {
    call: async (call) => {
      if (call.action === filesize.action) return { size: BigInt(size) } as never;
      if (call.action === isFile.action) return { fileflag: true } as never;
      throw new Error(`${call.action} was not expected`);
    },
    download: async (_call, _request, deliver) => deliver(pieces),
  };
  return { daemon, signal } as unknown as LibraryContext;
}

/** A registry whose answers are the lines of the input, one after the other. */
function registryOf(bytes: Buffer): LibraryContext {
  const texts = bytes.toString('latin1').split('\n');
  let next = 0;
  const take = (): string => texts[next++] ?? '';
  const handle = (): bigint => {
    const text = take();
    if (text === '') throw new GuestfsError('ENOENT', 'there is none');
    return BigInt(text.length);
  };
  const answers: Readonly<Record<string, () => object>> = {
    inspect_get_windows_software_hive: () => ({ path: '/software' }),
    hivex_open: () => ({}),
    hivex_close: () => ({}),
    hivex_root: () => ({ nodeh: handle() }),
    hivex_node_get_child: () => ({ child: handle() }),
    hivex_node_children: () => ({
      nodehs: Array.from({ length: Math.min(MOST_KEYS, take().length) }, (_, index) => ({
        hivex_node_h: BigInt(index),
      })),
    }),
    hivex_node_name: () => ({ name: take() }),
    hivex_node_get_value: () => ({ valueh: handle() }),
    hivex_value_string: () => ({ databuf: take() }),
    hivex_value_value: () => ({ databuf: Buffer.from(take(), 'latin1') }),
  };
  const daemon: Pick<Daemon, 'call'> = {
    call: async (call) => {
      const answer = answers[call.action];
      if (answer === undefined) throw new Error(`${call.action} was not expected`);
      return answer() as never;
    },
  };
  return { daemon, signal, session: { settings: { verbose: false } } } as unknown as LibraryContext;
}

async function pacman(context: LibraryContext): Promise<Application2[]> {
  await parsePacmanDescription(linesOfFile(context, '/desc', 8192));
  return [];
}

const LISTERS: readonly ((bytes: Buffer, pieces: readonly Buffer[]) => Promise<Application2[]>)[] = [
  (_bytes, pieces) => listDebApplications(guestWith(pieces)),
  (_bytes, pieces) => listApkApplications(guestWith(pieces)),
  (_bytes, pieces) => pacman(guestWith(pieces)),
  (bytes) => listWindowsApplications(registryOf(bytes), ROOT),
];

const DPKG = `Package: zsh
Status: install ok installed
Architecture: amd64
Source: zsh-src (5.9)
Version: 3:5.9-4+b2
Description: shell with lots of features
 Zsh is a command interpreter.
Homepage: https://www.zsh.org/

`;
const APK = `P:musl
V:1:1.2.5-r0
A:x86_64
T:the musl c library
U:https://musl.libc.org/

`;
const PACMAN = `%NAME%
bash

%VERSION%
1:5.2-3

%ARCH%
x86_64

%URL%
https://www.gnu.org/

%DESC%
a shell

`;
const WINDOWS = ['h', 'h', 'h', 'h', 'h', 'nn', 'key', 'v', 'Some Antivirus', 'v', '1.0', '', 'v', 'Norton'].join('\n');

export const packages: Target = {
  name: 'packages',
  about: 'the package databases of dpkg, apk, pacman and Windows',
  longest: 1024,
  // As much as arrives in one turn of the event loop.
  stretched: 64 * 1024,
  seeds: () =>
    [DPKG, APK, PACMAN, WINDOWS].flatMap((text, lister) =>
      [7, 256].map((size) => Buffer.concat([Buffer.of(lister), inPieces(size, Buffer.from(text))])),
    ),
  async run(input) {
    const lister = LISTERS[(input[0] ?? 0) % LISTERS.length] as (typeof LISTERS)[number];
    const { bytes, pieces } = cut(input.subarray(1));
    const found = await unlessRejected([GuestfsError], () => lister(bytes, pieces));
    const whole = await unlessRejected([GuestfsError], () => lister(bytes, bytes.length === 0 ? [] : [bytes]));
    ensure((found === undefined) === (whole === undefined), 'whether a database is refused depends on how it is split');
    if (found === undefined || whole === undefined) return;
    ensure(JSON.stringify(found) === JSON.stringify(whole), 'the list depends on how the database is split');
    ensure(found.length <= bytes.length, 'there are more applications than bytes');
    for (const one of sorted(found).map(oldForm))
      ensure(one.app_name.isWellFormed() && one.app_epoch >= 0, 'an application cannot be encoded');
  },
};
