/** Applications of Windows, from the registry. The daemon parses the hive, not the server. */
import {
  hivexClose,
  hivexNodeChildren,
  hivexNodeGetChild,
  hivexNodeGetValue,
  hivexNodeName,
  hivexOpen,
  hivexRoot,
  hivexValueString,
  hivexValueValue,
} from '../../../gen/calls/hivex.js';
import { inspectGetWindowsSoftwareHive } from '../../../gen/calls/inspection.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { Daemon } from '../../session/daemon.js';
import type { LibraryContext } from '../context.js';
import { unlessDaemonFails } from '../tolerance.js';
import { ApplicationList } from './application.js';

const UNINSTALL = ['Microsoft', 'Windows', 'CurrentVersion', 'Uninstall'];
/** Where a 64-bit system has its 32-bit applications. */
const UNINSTALL_32 = ['WOW6432node', ...UNINSTALL];
/** Has no uninstaller, and is therefore not among the others. */
const DEFENDER = ['Microsoft', 'Windows Defender'];

const ANTIVIRUS = /virus|kaspersky|mcafee|norton|sophos|ApexOneNT|avg technologies/i;

/** The daemon's numbers for nodes and values; 0: there is none. */
type Handle = bigint;
const NONE: Handle = 0n;

/** The node at a path; undefined if there is none. */
async function findNode(daemon: Daemon, path: readonly string[]): Promise<Handle | undefined> {
  let node = (await unlessDaemonFails(daemon.call(hivexRoot, {})))?.nodeh;
  for (const name of path) {
    if (node === undefined || node === NONE) return undefined;
    node = (await unlessDaemonFails(daemon.call(hivexNodeGetChild, { nodeh: node, name })))?.child;
  }
  return node === NONE ? undefined : node;
}

async function findValue(daemon: Daemon, nodeh: Handle, key: string): Promise<Handle | undefined> {
  const valueh = (await unlessDaemonFails(daemon.call(hivexNodeGetValue, { nodeh, key })))?.valueh;
  return valueh === NONE ? undefined : valueh;
}

async function textOf(daemon: Daemon, nodeh: Handle, key: string): Promise<string | undefined> {
  const valueh = await findValue(daemon, nodeh, key);
  return valueh === undefined
    ? undefined
    : (await unlessDaemonFails(daemon.call(hivexValueString, { valueh })))?.databuf;
}

/** Adds applications that can be uninstalled and have a display name. */
async function addInstalled(daemon: Daemon, list: ApplicationList, path: readonly string[]): Promise<void> {
  const parent = await findNode(daemon, path);
  if (parent === undefined) return;
  const children = (await unlessDaemonFails(daemon.call(hivexNodeChildren, { nodeh: parent })))?.nodehs ?? [];
  for (const { hivex_node_h: node } of children) {
    // Unlike the display name, this does not depend on the language.
    const name = (await unlessDaemonFails(daemon.call(hivexNodeName, { nodeh: node })))?.name;
    const displayName = name === undefined ? undefined : await textOf(daemon, node, 'DisplayName');
    if (name === undefined || displayName === undefined) continue;
    const version = await textOf(daemon, node, 'DisplayVersion');
    const installPath = await textOf(daemon, node, 'InstallLocation');
    const publisher = await textOf(daemon, node, 'Publisher');
    const url = await textOf(daemon, node, 'URLInfoAbout');
    const description = await textOf(daemon, node, 'Comments');
    const isAntivirus = [name, displayName, publisher ?? ''].some((text) => ANTIVIRUS.test(text));
    list.add({
      name,
      displayName,
      version,
      installPath,
      publisher,
      url,
      description,
      applicationClass: isAntivirus ? 'antivirus' : '',
    });
  }
}

/** True if a value says that Defender is disabled. */
async function isDisabled(daemon: Daemon, defender: Handle): Promise<boolean> {
  const valueh = await findValue(daemon, defender, 'DisableAntiVirus');
  const value =
    valueh === undefined ? undefined : (await unlessDaemonFails(daemon.call(hivexValueValue, { valueh })))?.databuf;
  return value !== undefined && value.length >= 4 && value.readUInt32LE() === 1;
}

async function addDefender(daemon: Daemon, list: ApplicationList): Promise<void> {
  const defender = await findNode(daemon, DEFENDER);
  if (defender === undefined || (await isDisabled(daemon, defender))) return;
  list.add({
    name: 'WinDefend',
    displayName: 'Microsoft Defender Antivirus',
    publisher: 'Microsoft Corporation',
    applicationClass: 'antivirus',
  });
}

export async function listWindowsApplications(
  { daemon, session }: LibraryContext,
  root: string,
): Promise<Application2[]> {
  const { path } = await daemon.call(inspectGetWindowsSoftwareHive, { root });
  await daemon.call(hivexOpen, { filename: path, verbose: session.settings.verbose, unsafe: true });
  const list = new ApplicationList();
  try {
    await addInstalled(daemon, list, UNINSTALL);
    await addInstalled(daemon, list, UNINSTALL_32);
    await addDefender(daemon, list);
  } finally {
    // The next hive to be opened closes one that stays open; the reason for the failure matters more.
    await daemon.call(hivexClose, {}).catch(() => undefined);
  }
  return list.applications;
}
