/** The process that provides the network of a session. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { beforeAll, expect, it, jest } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import { findIsolation } from '../../../src/jail/isolation.js';
import { startGuestNetwork, type GuestNetwork } from '../../../src/launcher/guestNetwork.js';
import { describeWhen } from '../../support/appliance.js';
import { eventually } from '../../support/eventually.js';
import { ended, processesThatMention } from '../../support/processes.js';

jest.setTimeout(30_000);
const isRoot = process.geteuid?.() === 0;
const user = isRoot ? { uid: 1_900_000_000, gid: 1_900_000_000 } : undefined;
const first = (await findIsolation()).kind === 'namespaces' ? await startGuestNetwork(user, silentLogger) : undefined;

const passts = (): number[] =>
  processesThatMention('169.254.2.15')
    .filter(({ name }) => name.startsWith('passt'))
    .map(({ pid }) => pid);
/** Asks for the router's MAC address, as qemu would, and prints the length and the addresses of the answer. */
const ASK = `
import socket, struct
link = socket.socket(fileno=3)
link.settimeout(10)
frame = bytes.fromhex("ffffffffffff525400123456" "0806" "00010800060400015254001234 56a9fe020f000000000000a9fe0202")
link.sendall(struct.pack("!I", len(frame)) + frame)
answer = b""
while len(answer) < 46 and (some := link.recv(2000)): answer += some
print(len(answer), answer[4:][6:12].hex(), answer[4:][28:32].hex())`;

describeWhen('the network of a session', first === undefined ? 'passt cannot run in a jail here' : undefined, () => {
  const network = first as GuestNetwork;
  let pid = 0;
  beforeAll(async () => {
    // What makes its jail becomes it only when the jail is complete.
    await eventually(() => (pid = passts()[0] ?? 0) !== 0);
  });

  it('is a process without files, privileges or access to other processes', async () => {
    const current = (): string => readFileSync(`/proc/${pid}/status`, 'latin1');
    // passt isolates itself before it listens to qemu.
    await eventually(() => /^Seccomp:\t2$/m.test(current()));
    const status = current();
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      expect(status).toMatch(new RegExp(`^${set}:\\t0+$`, 'm'));
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    if (isRoot) expect(status).toMatch(/^Uid:\t1900000000\t/m);
    for (const space of ['mnt', 'user', 'pid', 'ipc', 'uts'])
      expect(readlinkSync(`/proc/${pid}/ns/${space}`)).not.toBe(readlinkSync(`/proc/self/ns/${space}`));
    expect(readlinkSync(`/proc/${pid}/ns/net`)).toBe(readlinkSync('/proc/self/ns/net'));
    if (isRoot) expect(readdirSync(`/proc/${pid}/root`)).toEqual([]);
  });

  it('answers qemu as the router that libguestfs documents, and ends with it', async () => {
    const qemu = spawn('python3', ['-I', '-S', '-c', ASK], { stdio: ['ignore', 'pipe', 'inherit', network.fd] });
    await network.close();
    expect(await text(qemu.stdout as NodeJS.ReadableStream)).toBe('46 5255a9fe0202 a9fe0202\n');
    if (qemu.exitCode === null) await once(qemu, 'exit');
    await ended(pid);
    await network.stop();
  });

  it('ends when it is stopped', async () => {
    const other = await startGuestNetwork(user, silentLogger);
    let second = 0;
    await eventually(() => (second = passts()[0] ?? 0) !== 0);
    await other?.stop();
    await ended(second);
    expect(passts()).toEqual([]);
  });
});
