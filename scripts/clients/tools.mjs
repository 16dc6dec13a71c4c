/** Programs for the stubs and examples of languages that Debian does not have: from the registries of the languages. */
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

/** They are the same for all checkouts, and some take minutes to build. */
const TOOLS = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'guestfs-grpc', 'clients');

/** Plugins that suit the versions in the examples' manifests. */
const RUST_PLUGINS = ['protoc-gen-prost@0.5.0', 'protoc-gen-tonic@0.5.0'];
const PROTOC_FOR_JAVA = '3.25.8';
export const GRPC_JAVA = '1.75.0';

/**
 * Makes a directory in the cache, unless it is there.
 * @param {string} name with the version
 * @param {(directory: string) => Promise<void>} fill
 */
async function once(name, fill) {
  const directory = join(TOOLS, name);
  if (existsSync(directory)) return directory;
  say(`installing ${name}`);
  const made = `${directory}.${String(process.pid)}`;
  mkdirSync(made, { recursive: true });
  await fill(made);
  // As a whole, or not at all.
  renameSync(made, directory);
  return directory;
}

/**
 * Path of a release of Node.js, from npm.
 * @param {string} version its first number
 */
export async function nodeProgram(version) {
  const name = `node-linux-${process.arch}`;
  const directory = await once(`node-${version}`, (made) =>
    run(['npm', 'install', '--silent', '--ignore-scripts', '--no-save', '--prefix', made, `${name}@${version}`]),
  );
  return join(directory, 'node_modules', name, 'bin', 'node');
}

/** Directory with the plugins for Rust. */
export async function rustPlugins() {
  const directory = await once(`rust-${RUST_PLUGINS.join('-')}`, (made) =>
    run(['cargo', 'install', '--quiet', '--locked', '--root', made, ...RUST_PLUGINS]),
  );
  return join(directory, 'bin');
}

/** Directory with protoc and the plugin of gRPC, as Java's own library needs them. */
export function javaPlugins() {
  return once(`java-${PROTOC_FOR_JAVA}-${GRPC_JAVA}`, async (made) => {
    const artifacts = [`com.google.protobuf:protoc:${PROTOC_FOR_JAVA}`, `io.grpc:protoc-gen-grpc-java:${GRPC_JAVA}`];
    for (const artifact of artifacts)
      await run([
        'mvn',
        ...['--quiet', '--batch-mode', 'dependency:copy', `-Dartifact=${artifact}:exe:linux-x86_64`],
        `-DoutputDirectory=${made}`,
      ]);
    for (const file of readdirSync(made)) {
      const program = join(made, file.replace(/-\d.*$/, ''));
      renameSync(join(made, file), program);
      chmodSync(program, 0o755);
    }
  });
}
