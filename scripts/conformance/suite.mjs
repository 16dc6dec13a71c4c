/**
 * The conformance suite: a directory outside the project with libguestfs's own API tests as
 * data and a runner in Python. See the README.md in it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { outputOf } from '../support/run.mjs';

/** Debian's own Python, for which its packages install modules. */
const PYTHON = '/usr/bin/python3';

/**
 * The result of one test vector.
 * @typedef {object} VectorResult
 * @property {string} id
 * @property {string} action
 * @property {'pass' | 'fail' | 'skip' | 'unsupported'} status
 * @property {string} reason
 * @property {number} seconds
 */

/** @typedef {{ meta: { version?: string, seconds?: number }, results: Record<string, VectorResult> }} Results */

export class Suite {
  /** @param {string} directory */
  constructor(directory) {
    this.directory = directory;
  }

  /** Beginning of a command line; -B: Python writes nothing into the suite. */
  get #runner() {
    return [PYTHON, '-B', join(this.directory, 'run.py'), '--actions', join(this.directory, 'open.json')];
  }

  exists() {
    return existsSync(join(this.directory, 'run.py'));
  }

  /** What the test data are made from; given as paths from anywhere. */
  get dataSources() {
    return [join(this.directory, 'make-data.py'), join(this.directory, 'data')];
  }

  /** @param {string} output */
  makeDataCommand(output) {
    return [PYTHON, join(this.directory, 'make-data.py'), output];
  }

  /** @param {{ data: string, workDirectory: string, target: string, descriptors: string, json: string, jobs: number, only: string | undefined }} run */
  runCommand({ data, workDirectory, target, descriptors, json, jobs, only }) {
    return [
      ...this.#runner,
      '--driver',
      'grpc',
      '--data',
      data,
      '--workdir',
      workDirectory,
      '--target',
      target,
      '--descriptors',
      descriptors,
      '--json',
      json,
      '--jobs',
      String(jobs),
      '--unsupported-as-fail',
      ...onlyFlag(only),
    ];
  }

  /**
   * Names of the test vectors in a run.
   * @param {string | undefined} only
   */
  vectors(only) {
    const listed = outputOf([
      ...this.#runner,
      '--list',
      '--driver',
      'grpc',
      '--data',
      '.',
      '--workdir',
      '.',
      ...onlyFlag(only),
    ]);
    return [...listed.matchAll(/^\S+ +(\S+:\d+) /gm)].map(([, id = '']) => id);
  }

  /**
   * Names of the daemon actions.
   * @returns {Set<string>}
   */
  daemonActions() {
    /** @type {{ actions: { name: string, proc: number | null }[] }} */
    const { actions } = JSON.parse(readFileSync(join(this.directory, 'open.json'), 'utf8'));
    return new Set(actions.filter(({ proc }) => proc !== null).map(({ name }) => name));
  }

  /**
   * What the real library scored.
   * @returns {Results}
   */
  libraryResults() {
    return readResults(join(this.directory, 'library-1.48.6.json')) ?? { meta: {}, results: {} };
  }
}

/** @param {string | undefined} only */
function onlyFlag(only) {
  return only === undefined ? [] : ['--only', only];
}

/**
 * @param {string} file
 * @returns {Results | undefined}
 */
export function readResults(file) {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, 'utf8'));
}
