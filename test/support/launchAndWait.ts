/**
 * A minimal server: starts a machine from the configuration in its argument,
 * prints qemu's PID, and waits to be killed.
 */
import { silentLogger } from '../../src/common/logger.js';
import { createColdLauncher } from '../../src/launcher/coldLauncher.js';
import type { LaunchConfig } from '../../src/launcher/launcher.js';
import { createQemuUsers } from '../../src/qemu/qemuUsers.js';

const config = JSON.parse(process.argv[2] ?? '{}') as LaunchConfig;
const launcher = createColdLauncher({
  logger: silentLogger,
  users: createQemuUsers(),
});
const machine = await launcher.launch(config, { signal: new AbortController().signal, onConsole: () => undefined });
process.stdout.write(`${machine.pid}\n`);
setInterval(() => undefined, 1000);
