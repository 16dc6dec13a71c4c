/** `guestfs-grpc template`: makes the template of an appliance and stores it there, for images of containers. */
import { createLogger } from '../common/logger.js';
import { createPreflight } from '../launcher/preflight.js';
import { storeWithAppliance } from '../launcher/template/applianceTemplates.js';
import { makeTemplate } from '../launcher/template/makeTemplate.js';
import { templateKey } from '../launcher/template/templateKey.js';
import { createQemuUsers } from '../qemu/qemuUsers.js';
import { findIsolation } from '../jail/isolation.js';
import type { ServerCommandLine } from './commandLine.js';
import { defaultSettings } from './config.js';
import { defaultRequest } from './serve.js';

/** Makes the template of a server with these flags, and prints where it is. */
export async function storeTemplate(line: ServerCommandLine, environment: NodeJS.ProcessEnv): Promise<void> {
  const logger = createLogger(line.flags.logLevel);
  const request = defaultRequest(defaultSettings(line, environment));
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
  await findIsolation();
  const users = createQemuUsers();
  const preflight = createPreflight({
    logger,
    users,
    qemuBinary: request.qemuBinary,
    appliancePath: request.appliancePath,
  });
  const base = await preflight.run(request, stop.signal);
  try {
    const key = await templateKey(request, base);
    const options = { logger, users, temporaryDirectory: request.temporaryDirectory };
    const template = await makeTemplate(key, request, base, options, stop.signal);
    try {
      process.stdout.write(`${await storeWithAppliance(template, request, base, stop.signal)}\n`);
    } finally {
      await template.retire();
    }
  } finally {
    await base.appliance.close();
  }
}
