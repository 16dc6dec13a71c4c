/** How the example of each language is built. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { compileClient } from '../setup/client.mjs';
import { inProject, projectTool } from '../support/project.mjs';
import { outputOf, StepFailed } from '../support/run.mjs';
import { GRPC_JAVA, javaPlugins, nodeProgram, rustPlugins } from './tools.mjs';

/**
 * @typedef {import('./work.mjs').Work} Work
 * @typedef {import('./work.mjs').Program} Program
 */

/** The releases of Node.js that the client supports. */
const NODE_VERSIONS = ['20', '22', '24'];
/** Debian's own: the one for which its packages bring modules. */
const PYTHON = '/usr/bin/python3';

/**
 * The first version in a program's output.
 * @param {string[]} command
 */
function version(...command) {
  return /\d+(?:\.\d+)+/.exec(outputOf(command))?.[0] ?? '';
}

/** @param {string} name of a package of Debian */
function packageVersion(name) {
  // In dpkg-query's own notation.
  // eslint-disable-next-line no-template-curly-in-string
  return version('dpkg-query', '--show', '--showformat', '${Version}', name);
}

/** @param {string} name of an npm package in the project */
function npmVersion(name) {
  /** @type {{ version: string }} */
  const manifest = JSON.parse(readFileSync(inProject('node_modules', name, 'package.json'), 'utf8'));
  return manifest.version;
}

/**
 * Installs the client's package as a user does, compiles the example with it, and runs it on each release of Node.js.
 * @param {Work} work
 * @returns {Promise<readonly Program[]>}
 */
async function typescript(work) {
  const stage = work.path('package');
  mkdirSync(stage);
  for (const name of ['package.json', 'README.md', 'LICENSE'])
    cpSync(inProject('clients', 'typescript', name), work.path('package', name));
  await compileClient(work.path('package', 'dist'));
  await work.run(['npm', 'pack', '--ignore-scripts', '--pack-destination', work.directory], { cwd: stage });
  const tarball = `guestfs-grpc-client-${manifestVersion(stage)}.tgz`;
  writeFileSync(work.path('package.json'), '{"private": true, "type": "module"}\n');
  await work.run(['npm', 'install', '--silent', '--ignore-scripts', `./${tarball}`]);
  const program = readFileSync(inProject('examples', 'typescript', 'drive.ts'), 'utf8');
  const imported = program.replace(/'[^']*\/clients\/typescript\/src\/index\.js'/, "'guestfs-grpc-client'");
  if (imported === program) throw new StepFailed('examples/typescript/drive.ts does not import the client');
  writeFileSync(work.path('drive.ts'), imported);
  const options = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext'];
  await work.run(projectTool('tsc', ...options, 'drive.ts'));
  const programs = [];
  for (const release of NODE_VERSIONS) {
    const node = await nodeProgram(release);
    programs.push({
      variant: `Node.js ${release}`,
      command: [node, work.path('drive.js')],
      versions: `Node.js ${version(node, '--version')}, grpc-js ${npmVersion('@grpc/grpc-js')}`,
    });
  }
  return programs;
}

/** @param {string} directory of a package */
function manifestVersion(directory) {
  /** @type {{ version: string }} */
  const manifest = JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
  return manifest.version;
}

/**
 * How an example is built, in a directory that has nothing yet.
 * @type {Readonly<Record<string, (work: Work) => Promise<readonly Program[]>>>}
 */
export const builds = {
  typescript,

  async connect(work) {
    work.copyExample('connect');
    await work.generate('examples/connect/buf.gen.yaml', '.');
    symlinkSync(inProject('node_modules'), work.path('node_modules'));
    return [
      {
        command: [process.execPath, work.path('drive.mjs')],
        versions: `Node.js ${process.versions.node}, Connect ${npmVersion('@connectrpc/connect')}`,
      },
    ];
  },

  async python() {
    return [
      {
        command: [PYTHON, inProject('examples', 'python', 'drive.py')],
        env: { PYTHONPATH: inProject('clients', 'python'), PYTHONDONTWRITEBYTECODE: '1' },
        versions: `Python ${version(PYTHON, '--version')}, grpcio ${packageVersion('python3-grpcio')}`,
      },
    ];
  },

  async ruby(work) {
    work.copyExample('ruby');
    await work.generate('proto/buf.gen.ruby.yaml', 'stubs');
    return [
      {
        command: ['ruby', '-I', work.path('stubs'), work.path('drive.rb')],
        versions: `Ruby ${version('ruby', '--version')}, gRPC ${packageVersion('ruby-grpc')}`,
      },
    ];
  },

  async go(work) {
    // In its place: its go.mod names the client beside it.
    await work.run(['go', 'build', '-o', work.path('drive'), '.'], { cwd: inProject('examples', 'go') });
    const grpc = version('go', '-C', inProject('examples', 'go'), 'list', '-m', 'google.golang.org/grpc');
    return [{ command: [work.path('drive')], versions: `Go ${version('go', 'version')}, grpc-go ${grpc}` }];
  },

  async java(work) {
    work.copyExample('java');
    await work.generate('proto/buf.gen.java.yaml', 'src/main/java', [await javaPlugins()]);
    await work.run(['mvn', '--batch-mode', '--no-transfer-progress', 'package', 'dependency:copy-dependencies']);
    return [
      {
        command: [
          'java',
          '-cp',
          `${work.path('target', 'classes')}:${work.path('target', 'dependency')}/*`,
          'example.Drive',
        ],
        versions: `Java ${version('java', '--version')}, grpc-java ${GRPC_JAVA}`,
      },
    ];
  },

  async rust(work) {
    work.copyExample('rust');
    await work.generate('proto/buf.gen.rust.yaml', 'src/stubs', [await rustPlugins()]);
    await work.run(['cargo', 'build']);
    const tonic = /name = "tonic"\nversion = "(.*)"/.exec(readFileSync(work.path('Cargo.lock'), 'utf8'))?.[1] ?? '';
    return [
      {
        command: [work.path('target', 'debug', 'drive')],
        versions: `Rust ${version('rustc', '--version')}, tonic ${tonic}`,
      },
    ];
  },

  async cpp(work) {
    work.copyExample('cpp');
    await work.generate('proto/buf.gen.cpp.yaml', 'stubs');
    await work.run(['cmake', '-S', '.', '-B', 'build']);
    await work.run(['cmake', '--build', 'build', '--parallel', '2']);
    return [
      {
        command: [work.path('build', 'drive')],
        versions: `g++ ${version('g++', '-dumpfullversion')}, gRPC ${packageVersion('libgrpc++-dev')}`,
      },
    ];
  },
};
