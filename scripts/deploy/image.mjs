/**
 * The container image: built here, then run as an unnamed user, with a read-only root, without capabilities and
 * without /dev/kvm, and asked for a session.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { inProject } from '../support/project.mjs';
import { run, StepFailed } from '../support/run.mjs';
import { outcome, output } from './output.mjs';

const BASE = 'docker.io/library/debian:trixie-slim';
const IMAGE = 'localhost/guestfs-grpc';
/** The user of the image, and one that nobody has heard of, in the group of root as on OpenShift. */
const USERS = ['10001:10001', '1000720000:0'];
/** How long the first session may take, milliseconds. */
const FIRST_SESSION_MS = 3000;
const START_LIMIT_MS = 120_000;
const PORT = 50_951;
const GATEWAY_PORT = 50_952;
const MEBIBYTE = 1 << 20;
/** What the image may take where it is unpacked. */
const SIZE_LIMIT = 1600 * MEBIBYTE;

/** The machine of CI has no user namespaces for rootless containers, and runs these as root. */
const PODMAN = ['podman', '--runtime', 'runc'];

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyImage(checks) {
  await build();
  const [{ Size: size }] = /** @type {[{ Size: number }]} */ (
    JSON.parse(output(['podman', 'image', 'inspect', IMAGE]))
  );
  checks.that(`the image takes ${mebibytes(size)}, at most ${mebibytes(SIZE_LIMIT)}`, size <= SIZE_LIMIT);
  console.log(contents());
  for (const user of USERS) await verifyUser(checks, user);
  const refused = outcome([...PODMAN, 'run', ...LIMITS, '--rm', IMAGE]);
  checks.that(
    'without TLS, the server does not start unless it is told to',
    refused.status === 2 && refused.output.includes('without TLS everyone reads along'),
    refused.output,
  );
}

/**
 * What is used of the client, which is compiled.
 * @typedef {object} Session
 * @property {() => Promise<{ accelerator: number, launch_kind: number }>} describe
 * @property {() => Promise<void>} end
 *
 * @typedef {object} Client
 * @property {(options: { drives: object[], launch: boolean }) => Promise<Session>} session
 * @property {() => void} close
 */

/** @param {number} bytes */
function mebibytes(bytes) {
  return `${(bytes / MEBIBYTE).toFixed(0)} MiB`;
}

async function build() {
  if (outcome(['podman', 'image', 'exists', BASE]).status !== 0) await run([inProject('deploy', 'base-image.sh')]);
  const secrets = mkdtempSync(join(tmpdir(), 'guestfs-grpc-secrets-'));
  try {
    // Where registries are reached through a proxy, this machine has settings for it.
    const npmrc = ['/etc/npmrc', join(homedir(), '.npmrc')]
      .filter(existsSync)
      .map((path) => readFileSync(path, 'utf8'));
    writeFileSync(join(secrets, 'npmrc'), npmrc.join('\n'), { mode: 0o600 });
    const ca = process.env.NODE_EXTRA_CA_CERTS;
    await run([
      ...['nice', 'buildah', 'bud', '--isolation', 'chroot', '--network', 'host', '--layers', '--pull=never'],
      ...['--ulimit', 'nofile=1024:1024', '--secret', `id=npmrc,src=${join(secrets, 'npmrc')}`],
      ...(ca === undefined ? [] : ['--secret', `id=ca,src=${ca}`]),
      ...['--file', inProject('deploy', 'Containerfile'), '--tag', IMAGE, inProject()],
    ]);
  } finally {
    rmSync(secrets, { recursive: true });
  }
}

const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000', '--network=host'];
const HARDENED = [
  ...['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges'],
  ...['--tmpfs', '/tmp:mode=1777,size=2g', '--tmpfs', '/var/tmp:mode=1777,size=1g'],
];

/** The largest parts of the image. */
function contents() {
  const script =
    'du -sm --apparent-size /usr/lib/guestfs-grpc/* /usr/lib/x86_64-linux-gnu /usr/bin /usr/share /usr/lib/python3* 2>/dev/null | sort -rn | head -12';
  return output([...PODMAN, 'run', ...LIMITS, '--rm', '--entrypoint', '/bin/sh', IMAGE, '-c', script]);
}

/**
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 */
async function verifyUser(checks, user) {
  const images = mkdtempSync(join(tmpdir(), 'guestfs-grpc-images-'));
  chmodSync(images, 0o777);
  const name = `guestfs-grpc-verify-${process.pid}`;
  const child = spawn(
    'podman',
    [
      ...[...PODMAN.slice(1), 'run', ...LIMITS, ...HARDENED, '--rm', '--name', name, '--user', user],
      ...['--volume', `${images}:/images`, IMAGE, 'serve', '--listen', `127.0.0.1:${PORT}`, '--drain-grace', '20'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  child.stderr.on('data', (bytes) => {
    log += String(bytes);
  });
  const exited = once(child, 'exit');
  try {
    const started = performance.now();
    await listening(child, () => log);
    console.log(`user ${user}: listens after ${seconds(performance.now() - started)}`);
    const isolation = /** @type {string | undefined} */ (/"isolation":"(\w+)"/.exec(log)?.[1]);
    checks.that(
      `user ${user}: programs are isolated, by ${isolation ?? 'nothing'}`,
      ['namespaces', 'landlock'].includes(isolation ?? ''),
      log,
    );
    checks.that(`user ${user}: the appliance's own template is used`, !log.includes('made a template'), log);
    await verifySession(checks, user);
    await verifyGateway(checks, user);
  } finally {
    outcome(['podman', 'stop', '--time', '40', name]);
    const [code] = await exited;
    checks.that(`user ${user}: the container ends with exit code 0`, code === 0, `${String(code)}\n${log}`);
    rmSync(images, { recursive: true });
  }
}

/**
 * The gateway for browsers, from the same image.
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 */
async function verifyGateway(checks, user) {
  const name = `guestfs-grpc-gateway-${process.pid}`;
  const flags = ['--listen', `127.0.0.1:${GATEWAY_PORT}`, '--server', `127.0.0.1:${PORT}`];
  const child = spawn(
    'podman',
    [
      ...[...PODMAN.slice(1), 'run', ...LIMITS, '--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges'],
      ...['--rm', '--name', name, '--user', user, IMAGE, 'gateway', ...flags],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  child.stderr.on('data', (bytes) => {
    log += String(bytes);
  });
  const exited = once(child, 'exit');
  try {
    await listening(child, () => log);
    const response = await fetch(`http://127.0.0.1:${GATEWAY_PORT}/guestfs.v1.SessionService/GetServerInfo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    const answer = await response.text();
    checks.that(`user ${user}: the gateway answers`, response.ok && answer.includes('"serverVersion"'), answer);
  } finally {
    outcome(['podman', 'stop', '--time', '40', name]);
    const [code] = await exited;
    checks.that(`user ${user}: the gateway ends with exit code 0`, code === 0, `${String(code)}\n${log}`);
  }
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`;
}

/**
 * Waits until the server listens.
 * @param {import('node:child_process').ChildProcess} child
 * @param {() => string} log
 */
async function listening(child, log) {
  const limit = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  try {
    if (child.stdout !== null)
      for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('listening on ')) return;
    throw new StepFailed(`the container did not listen:\n${log()}`);
  } finally {
    clearTimeout(limit);
  }
}

/**
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 */
async function verifySession(checks, user) {
  /** @type {{ connect: (address: string) => Client }} */
  const { connect } = await import(inProject('dist', 'clients', 'typescript', 'src', 'index.js'));
  const client = connect(`127.0.0.1:${PORT}`);
  try {
    const started = performance.now();
    const session = await client.session({ drives: [{ scratch_size: BigInt(64 * MEBIBYTE) }], launch: true });
    const ms = performance.now() - started;
    const { accelerator, launch_kind: kind } = await session.describe();
    checks.that(
      `user ${user}: the first session is ready after ${seconds(ms)} (accelerator ${accelerator}, kind ${kind})`,
      ms <= FIRST_SESSION_MS,
    );
    await session.end();
  } finally {
    client.close();
  }
}
