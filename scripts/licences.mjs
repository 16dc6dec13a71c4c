/**
 * `npm run licences`: lists third-party software and its licences in sbom/THIRD-PARTY.txt, and fails if the project
 * does not accept one of the licences.
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
  const { refusedAppliancePackages, refusedServerPackages } = await import('./supply/allowedLicences.mjs');
  const { serverPackages } = await import('./supply/serverPackages.mjs');
  const { applianceLicences, serverLicences } = await import('./supply/thirdParty.mjs');
  const ofServer = serverPackages();
  const ofAppliance = appliancePackages(directory);
  mkdirSync(inProject('sbom'), { recursive: true });
  writeFileSync(
    inProject('sbom', 'THIRD-PARTY.txt'),
    `${applianceLicences(readManifest(directory), ofAppliance)}\n\n${serverLicences(ofServer)}`,
  );
  say(`sbom/THIRD-PARTY.txt is written: ${ofServer.length} npm and ${ofAppliance.length} Debian packages`);
  const refused = [...refusedServerPackages(ofServer), ...refusedAppliancePackages(ofAppliance)];
  if (refused.length > 0)
    throw new StepFailed(`licences that scripts/supply/allowedLicences.mjs does not allow:\n  ${refused.join('\n  ')}`);
});
