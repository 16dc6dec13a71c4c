/** A server whose output has lost its reader, as when the program that started it was killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { TestClient } from '../support/testClient.js';
import { MAIN, plainEnvironment } from '../support/testServer.js';

describeWithAppliance('a server whose output has no reader', () => {
  it('continues to serve, and shuts down as usual', async () => {
    const images = mkdtempSync(join(tmpdir(), 'lost-output-'));
    const flags = ['--listen', '127.0.0.1:0', '--image-root', images, '--launch', 'cold', '--log-level', 'debug'];
    const server = spawn(process.execPath, [MAIN, 'serve', ...flags], { env: plainEnvironment(), stdio: 'pipe' });
    let address: string | undefined;
    for await (const line of createInterface({ input: server.stdout })) {
      address = /^listening on (.*)$/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    server.stdout.destroy();
    server.stderr.destroy();
    const client = new TestClient(address ?? '');
    for (let made = 0; made < 3; made += 1) {
      const { id } = await client.createSession();
      await client.deleteSession(id);
    }
    client.close();
    const exited = once(server, 'exit');
    server.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    rmSync(images, { recursive: true });
  });
});
