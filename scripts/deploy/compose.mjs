/** The compose file: server and gateway understand what it tells them. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { inProject } from '../support/project.mjs';
import { misunderstanding } from './environment.mjs';

/** @typedef {{ command?: string[], environment: Record<string, string> }} Service */

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyCompose(checks) {
  /** @type {{ services: Record<string, Service> }} */
  const { services } = parse(readFileSync(inProject('deploy', 'compose', 'compose.yaml'), 'utf8'));
  for (const [name, { command = ['serve'], environment }] of Object.entries(services)) {
    const env = Object.entries(environment).map(([variable, value]) => ({ name: variable, value }));
    const problem = await misunderstanding({ name: command.join(' '), env });
    checks.that(`compose: ${name} understands its environment`, problem === undefined, problem);
  }
}
