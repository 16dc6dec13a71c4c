import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { startProcess, type StartedProcess } from '../../../src/common/subprocess.js';
import { QemuCommandLine } from '../../../src/qemu/commandLine.js';
import { addFdMonitor, FdSender, FLOOD_BYTES, LateFdSets } from '../../../src/qemu/fdSender.js';

const never = new AbortController().signal;

/** Begins like qemu: greets, and leaves the negotiation mode. Descriptor 3 is the monitor. */
const FAKE_QEMU = `
import array, json, os, socket, struct
monitor = socket.socket(fileno=3)
monitor.setblocking(True)
monitor.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
def say(text):
    try:
        monitor.sendall(text.encode())
    except OSError:
        os._exit(0)
def hear():
    data, ancillary, flags, address = monitor.recvmsg(65536, 4096)
    if not data:
        os._exit(0)
    fds = [fd for level, kind, value in ancillary if kind == socket.SCM_RIGHTS for fd in array.array("i", value)]
    senders = [struct.unpack("3i", value) for level, kind, value in ancillary if kind == socket.SCM_CREDENTIALS]
    return json.loads(data), fds, senders
say('{"QMP": {}}\\n')
message, fds, senders = hear()
say(json.dumps({"return": {}, "id": message["id"]}) + "\\n")
`;

let directory: string;
let files: FileHandle[];
const fakes: StartedProcess[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fd-sender-'));
  files = [];
  for (const name of ['one', 'two']) {
    writeFileSync(join(directory, name), `this is ${name}`);
    files.push(await open(join(directory, name), 'r'));
  }
});

afterEach(async () => {
  for (const fake of fakes.splice(0)) {
    fake.channels[0]?.destroy();
    fake.kill('SIGKILL');
    await fake.exited;
  }
  await Promise.all(files.map((file) => file.close()));
  rmSync(directory, { recursive: true });
});

/** Starts what stands in for qemu, and the server's end of its monitor. */
async function fakeQemu(then: string): Promise<{ sender: FdSender; output: Promise<string>; stream: Duplex }> {
  const fake = await startProcess('python3', ['-I', '-S', '-c', FAKE_QEMU + then], {
    channels: 1,
    fds: [],
    env: {},
    cwd: '/',
  });
  fakes.push(fake);
  const [stream] = fake.channels as [Duplex];
  stream.on('error', () => undefined);
  const [stdout] = fake.outputs as [Duplex];
  return { sender: new FdSender(stream), output: text(stdout), stream };
}

/** Adds the files of this test. */
function filled(given = 0): LateFdSets {
  const sets = new LateFdSets(given);
  for (const file of files) sets.add(file);
  return sets;
}

const ANSWER_ALL = `
while True:
    message, fds, senders = hear()
    size = os.fstat(fds[0]).st_size
    print(message["execute"], message["arguments"]["fdset-id"], os.pread(fds[0], size, 0).decode(), len(fds), senders[0][1], flush=True)
    say('{"event": "RESUME", "timestamp": {}}\\n' + json.dumps({"return": {}, "id": message["id"]}) + "\\n")
`;

describe('files for a running qemu', () => {
  it('arrive one by one, in the order of their sets, and from a user without rights', async () => {
    const { sender, output, stream } = await fakeQemu(ANSWER_ALL);
    await filled().send(sender, never);
    await filled(2).send(sender, never);
    stream.destroy();
    const uid = process.geteuid?.() === 0 ? 65534 : process.geteuid?.();
    expect((await output).trim().split('\n')).toEqual([
      `add-fd 10000 this is one 1 ${uid}`,
      `add-fd 10001 this is two 1 ${uid}`,
      `add-fd 10002 this is one 1 ${uid}`,
      `add-fd 10003 this is two 1 ${uid}`,
    ]);
  });

  it('are refused in the words of qemu', async () => {
    const { sender } = await fakeQemu(`
message, fds, senders = hear()
say(json.dumps({"error": {"class": "GenericError", "desc": "no room"}, "id": message["id"]}) + "\\n")
hear()
`);
    await expect(filled().send(sender, never)).rejects.toThrow('qemu did not accept its files: no room');
  });

  it('are not handed over when there are none', async () => {
    const { sender, stream } = await fakeQemu('hear()');
    await new LateFdSets().send(sender, never);
    expect(stream.listenerCount('data')).toBe(0);
  });

  it('stop coming when the caller gives up', async () => {
    const { sender } = await fakeQemu('while True: hear()');
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('given up')), 300);
    await expect(filled().send(sender, controller.signal)).rejects.toThrow('given up');
  });

  it.each([
    ['a line without end', 'while True: say("x" * 65536)', /longer than 65536 bytes|channel is closed/],
    ['events without end', 'while True: say(\'{"event": "FLOOD"}\\n\' * 1000)', /connection closed|channel is closed/],
    ['an endless greeting', 'pass', /longer than 65536 bytes|channel is closed/],
  ])('are not handed to a qemu that says %s, of which little is read', async (what, then, why) => {
    const greeting = what === 'an endless greeting' ? 'while True: say("{" * 65536)' : undefined;
    const { sender, stream } = await (greeting === undefined ? fakeQemu(then) : fakeQemuSaying(greeting));
    let read = 0;
    stream.on('data', (bytes: Buffer) => (read += bytes.length)).pause();
    await expect(filled().send(sender, never)).rejects.toThrow(why);
    expect(stream.destroyed).toBe(true);
    expect(read).toBeLessThan(FLOOD_BYTES + (1 << 20));
  });

  it('go to a monitor that has no name', () => {
    const line = new QemuCommandLine('qemu');
    addFdMonitor(line);
    expect(line.build().args).toEqual(['-chardev', 'socket,id=fds,fd=6', '-mon', 'chardev=fds,mode=control']);
  });
});

/** One that does not even begin like qemu. */
async function fakeQemuSaying(script: string): Promise<{ sender: FdSender; stream: Duplex }> {
  const fake = await startProcess(
    'python3',
    ['-I', '-S', '-c', FAKE_QEMU.slice(0, FAKE_QEMU.indexOf("say('{")) + script],
    { channels: 1, fds: [], env: {}, cwd: '/' },
  );
  fakes.push(fake);
  const [stream] = fake.channels as [Duplex];
  stream.on('error', () => undefined);
  return { sender: new FdSender(stream), stream };
}
