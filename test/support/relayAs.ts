/** A process of another user between clients and a Unix socket: the server sees the user of the process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Relays one connection after the other, each in a thread; prints its port. */
const PROGRAM = `
import os, socket, sys, threading
user, target = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(user); os.setuid(user)
def copy(source, sink):
    try:
        while data := source.recv(65536): sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError: pass
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    client = listener.accept()[0]
    server = socket.socket(socket.AF_UNIX)
    server.connect(target)
    for pair in (client, server), (server, client):
        threading.Thread(target=copy, args=pair, daemon=True).start()
`;

export interface Relay {
  /** host:port. */
  readonly address: string;
  stop(): Promise<void>;
}

/** Starts a relay; requires root. */
export async function relayAs(user: number, socket: string): Promise<Relay> {
  const child: ChildProcess = spawn('/usr/bin/python3', ['-I', '-S', '-c', PROGRAM, String(user), socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
  });
  const [port] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string];
  return {
    address: `127.0.0.1:${port}`,
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
