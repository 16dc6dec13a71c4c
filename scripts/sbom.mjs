/**
 * `npm run sbom`: writes bills of materials (CycloneDX) of the server and of the appliance into sbom/.
 *
 *   --appliance DIR   an appliance other than the default one
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { wantedAppliance } from './supply/appliance.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { StepFailed } from './support/run.mjs';
import { say } from './support/say.mjs';

await command(async () => {
  const directory = await wantedAppliance(process.argv.slice(2));
  // These need npm packages, which a fresh checkout does not have before set-up.
  const { appliancePackages, readManifest } = await import('./supply/appliancePackages.mjs');
  const { applianceSbom } = await import('./supply/applianceSbom.mjs');
  const { problemOf } = await import('./supply/cyclonedx.mjs');
  const { serverSbom } = await import('./supply/serverSbom.mjs');
  mkdirSync(inProject('sbom'), { recursive: true });
  const documents = {
    'server.cdx.json': serverSbom(),
    'appliance.cdx.json': applianceSbom(readManifest(directory), appliancePackages(directory)),
  };
  for (const [name, text] of Object.entries(documents)) {
    const problem = await problemOf(text);
    if (problem !== undefined) throw new StepFailed(`${name} is not a valid CycloneDX document: ${problem}`);
    writeFileSync(inProject('sbom', name), text);
    say(`sbom/${name} is written`);
  }
});
