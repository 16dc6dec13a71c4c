/** Before `npm pack` in clients/typescript: generates and compiles what that package contains. */
import { CLIENT_OUTPUT, compileClient } from './setup/client.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';

await command(async () => {
  await ensureNodePackages();
  await ensureGenerated();
  await compileClient(CLIENT_OUTPUT);
});
