/** Facts about a mounted system that are read here, where the daemon does not know the system. */
import { fileArchitecture, isFile, pread, realpath } from '../../../gen/calls/file.js';
import { decodeGuestText } from '../../common/guestText.js';
import { unlessDaemonFails } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';

/** Programs that most systems have one of; more than the daemon looks at. */
const PROGRAMS = [
  '/bin/bash',
  '/bin/sh',
  '/bin/ls',
  '/usr/bin/bash',
  '/usr/bin/sh',
  '/usr/bin/ls',
  '/usr/bin/env',
  '/usr/lib/systemd/systemd',
  '/lib/systemd/systemd',
];
const HOST_NAMES = ['/etc/hostname', '/usr/etc/hostname'];
const MAX_HOST_NAME = 1024;

/** The processor, from a program; undefined if there is none that it can be told from. */
export async function architecture(actions: ActionCalls): Promise<string | undefined> {
  for (const program of PROGRAMS) {
    const path = (await unlessDaemonFails(actions.call(realpath, { path: program })))?.rpath;
    if (path === undefined) continue;
    const arch = (await unlessDaemonFails(actions.call(fileArchitecture, { filename: path })))?.arch;
    if (arch !== undefined) return arch;
  }
  return undefined;
}

/** The host name; undefined if there is none. */
export async function hostName(actions: ActionCalls): Promise<string | undefined> {
  for (const path of HOST_NAMES) {
    const request = { path, followsymlinks: true };
    if ((await unlessDaemonFails(actions.call(isFile, request)))?.fileflag !== true) continue;
    const file = await unlessDaemonFails(actions.call(pread, { path, count: MAX_HOST_NAME, offset: 0n }));
    const name = decodeGuestText(file?.content ?? Buffer.alloc(0))
      .split('\n')
      .find((line) => line !== '' && !line.startsWith('#'));
    if (name !== undefined) return name;
  }
  return undefined;
}
