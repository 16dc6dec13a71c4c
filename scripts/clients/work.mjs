/** The directory in which the example of a language is built, and what is done there. */
import { closeSync, cpSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { inProject, projectTool } from '../support/project.mjs';
import { run, StepFailed } from '../support/run.mjs';

/** Of the output of a command that fails, this is shown. */
const SHOWN = 4000;

/**
 * A program that is ready to be run with the server's address as its last argument.
 * @typedef {object} Program
 * @property {string} [variant] Where there is more than one.
 * @property {string[]} command
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} versions Of what it is made with.
 */

export class Work {
  /** @param {string} directory Empty; everything that is made goes there. */
  constructor(directory) {
    this.directory = directory;
  }

  /** @param {string[]} parts */
  path(...parts) {
    return join(this.directory, ...parts);
  }

  /**
   * Copies an example.
   * @param {string} name
   */
  copyExample(name) {
    cpSync(inProject('examples', name), this.directory, { recursive: true });
  }

  /**
   * Runs a command here; its output is shown only if it fails.
   * @param {string[]} command
   * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [options]
   */
  async run(command, { env, cwd = this.directory } = {}) {
    const file = this.path('build.log');
    const log = openSync(file, 'w');
    try {
      await run(command, { cwd, env, stdio: ['ignore', log, log] });
    } catch (error) {
      if (!(error instanceof StepFailed)) throw error;
      throw new StepFailed(`${error.message}\n${readFileSync(file, 'utf8').slice(-SHOWN)}`);
    } finally {
      closeSync(log);
    }
  }

  /**
   * Generates stubs.
   * @param {string} template Its path in the project.
   * @param {string} output Directory here.
   * @param {readonly string[]} [plugins] Directories with plugins, before those of the PATH.
   */
  async generate(template, output, plugins = []) {
    const directory = this.path(output);
    mkdirSync(directory, { recursive: true });
    const [, buf = ''] = projectTool('buf');
    const path = [...plugins, dirname(buf), process.env.PATH ?? ''].join(delimiter);
    await this.run([buf, 'generate', '--template', inProject(template), '-o', directory], {
      cwd: inProject(),
      env: { PATH: path },
    });
  }
}
