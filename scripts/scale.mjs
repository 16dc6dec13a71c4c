/**
 * `npm run scale`: simulates the service on up to ten thousand nodes, with the figures that were measured on one. See
 * docs/scale.md; `npm run scale -- --help` lists the flags.
 */
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';

await command(async () => {
  await ensureNodePackages();
  const { readCommandLine } = await import('./scale/commandLine.mjs');
  const { summary, table } = await import('./scale/tables.mjs');
  const { flags, tables } = readCommandLine(process.argv.slice(2));
  console.log(summary(flags));
  for (const name of tables) console.log(`\n${name}\n\n${table(name, flags)}`);
});
