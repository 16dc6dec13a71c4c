/** The bill of materials of the server, created by npm. */
import { readFileSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { outputOf, StepFailed } from '../support/run.mjs';
import { serverPackages } from './serverPackages.mjs';

/**
 * The part of npm's document that is used here.
 * @typedef {object} Document
 * @property {{ component: { name: string } }} metadata
 * @property {{ 'bom-ref': string, group?: string, name: string, version: string }[]} components
 * @property {{ ref: string, dependsOn?: string[] }[]} dependencies
 */

/** @returns {string} A CycloneDX document. */
export function serverSbom() {
  // Without --omit=dev, which would also leave out packages of the server that the tests depend on directly.
  const output = outputOf(['npm', 'sbom', '--sbom-format=cyclonedx', '--sbom-type=application']);
  /** @type {Document} */
  let bom;
  try {
    bom = JSON.parse(output);
  } catch {
    throw new StepFailed('npm sbom created no document: it needs npm 10 or newer, and installed packages (npm ci)');
  }
  // npm leaves out packages that only the development needs, but not those that are also optional peers of others.
  const needed = new Set(serverPackages().map(({ name, version }) => `${name}@${version}`));
  const others = new Set(
    bom.components
      .filter(({ group, name, version }) => !needed.has(`${group === undefined ? '' : `${group}/`}${name}@${version}`))
      .map((component) => component['bom-ref']),
  );
  /** @param {string} ref */
  const stays = (ref) => !others.has(ref);
  bom.components = bom.components.filter((component) => stays(component['bom-ref']));
  bom.dependencies = bom.dependencies
    .filter(({ ref }) => stays(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter(stays) }));
  /** @type {{ name: string }} */
  const { name } = JSON.parse(readFileSync(inProject('package.json'), 'utf8'));
  // npm uses the name of the directory.
  bom.metadata.component.name = name;
  return `${JSON.stringify(bom, null, 2)}\n`;
}
