/**
 * Generates what derives from the action list, then TypeScript from the .proto files.
 * The former is committed, except the search page; the latter, which is long, is not.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fingerprint, Stamp } from '../support/fingerprint.mjs';
import { inProject, projectTool } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

const INPUTS = [
  'src/actions',
  'src/generator',
  'buf.yaml',
  'buf.gen.yaml',
  'tsconfig.json',
  'tsconfig.generator.json',
  'package-lock.json',
  // The list of what is generated from them.
  'scripts/setup/generated.mjs',
];
/** Folders with generated files that are committed (some of proto is written by hand). */
export const COMMITTED_OUTPUTS = [
  'proto',
  'gen/calls',
  'gen/services.ts',
  'gen/libraryActions.ts',
  'docs/reference',
  'clients/typescript/src/actions.ts',
  'clients/go/actions.go',
  'clients/go/structs.go',
  'clients/python/guestfs_grpc/_actions.py',
  'clients/python/guestfs_grpc/_specs.py',
  'clients/python/guestfs_grpc/api.binpb',
];
const OTHER_OUTPUTS = ['gen/proto', 'dist/reference'];

/**
 * The generator is compiled into a separate folder. If the server's build wrote there as well, the compiler could treat
 * its output as that of the generator's sources, and a checkout of an older commit would generate with newer code.
 */
const GENERATOR = inProject('dist', 'generator', 'src', 'generator', 'main.js');

const stamp = new Stamp('generated');

/**
 * The value of the stamp. It includes the outputs: one that was edited or deleted is generated again.
 * @param {string} inputs
 */
function state(inputs) {
  return fingerprint([...COMMITTED_OUTPUTS, ...OTHER_OUTPUTS], [inputs]);
}

/**
 * Command line of the generator.
 * @param {string[]} args
 */
export function generatorCommand(...args) {
  return [process.execPath, GENERATOR, ...args];
}

/** The .proto files of gRPC's own services that the server has, where their packages keep them, and which of them. */
const GRPC_SERVICES = [
  ['node_modules/grpc-health-check/proto'],
  ['node_modules/@grpc/reflection/build/proto', '--path', 'node_modules/@grpc/reflection/build/proto/grpc'],
  ['node_modules/@grpc/grpc-js/proto', '--path', 'node_modules/@grpc/grpc-js/proto/channelz.proto'],
];

/** Writes what server reflection serves: the descriptors of the API, and of gRPC's own services. */
async function describe() {
  const part = inProject('gen', 'proto', 'part.binpb');
  const sets = [];
  for (const input of [['proto'], ...GRPC_SERVICES]) {
    await run(projectTool('buf', 'build', ...input, '-o', part));
    sets.push(readFileSync(part));
  }
  rmSync(part);
  // A set of descriptors is one repeated field: sets one after another are one set.
  writeFileSync(inProject('gen', 'proto', 'descriptors.binpb'), Buffer.concat(sets));
}

/** Writes the descriptors that the Python client makes its messages from. */
async function describeForPython() {
  const output = inProject('clients', 'python', 'guestfs_grpc', 'api.binpb');
  const paths = ['--path', inProject('proto', 'guestfs'), '--path', inProject('proto', 'google')];
  await run(projectTool('buf', 'build', ...paths, '--exclude-source-info', '--as-file-descriptor-set', '-o', output));
}

/** Generates everything unconditionally. */
export async function generate() {
  // Taken first: edits made while this runs count the next time.
  const inputs = fingerprint(INPUTS);
  stamp.clear();
  await run(projectTool('tsc', '-p', 'tsconfig.generator.json'));
  await run(generatorCommand());
  await run(projectTool('buf', 'generate'));
  await describe();
  await describeForPython();
  stamp.write(state(inputs));
}

/** Makes sure that everything generated is up to date. */
export async function ensureGenerated() {
  if (stamp.matches(state(fingerprint(INPUTS))) && existsSync(GENERATOR)) return;
  say('generating code from the action list');
  await generate();
}
