/**
 * The container image: built here, then run as the chart does, as an unnamed user, with a read-only root, without
 * capabilities and without /dev/kvm, and asked for a session.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { IMAGE, LIMITS, PODMAN, withContainer } from './container.mjs';
import { outcome, output } from './output.mjs';
import { chartContainers } from './pods.mjs';

const BASE = 'docker.io/library/debian:trixie-slim';
/** The user of the image, and one that nobody has heard of, in the group of root as on OpenShift. */
const USERS = ['10001:10001', '1000720000:0'];
/** How long the first session may take, milliseconds. */
const FIRST_SESSION_MS = 3000;
const MEBIBYTE = 1 << 20;
/** What the image may take where it is unpacked. */
const SIZE_LIMIT = 1600 * MEBIBYTE;

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyImage(checks) {
  await build();
  const [{ Size: size }] = /** @type {[{ Size: number }]} */ (
    JSON.parse(output(['podman', 'image', 'inspect', IMAGE]))
  );
  checks.that(`the image takes ${mebibytes(size)}, at most ${mebibytes(SIZE_LIMIT)}`, size <= SIZE_LIMIT);
  console.log(contents());
  const chart = await chartContainers();
  for (const user of USERS) await verifyUser(checks, user, chart);
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
 * @property {() => Promise<unknown>} version
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

/** Where the server writes: what sessions write, and templates. */
const WRITABLE = ['--tmpfs', '/tmp:mode=1777,size=2g', '--tmpfs', '/var/tmp:mode=1777,size=1g'];

/** The largest parts of the image. */
function contents() {
  const script =
    'du -sm --apparent-size /usr/lib/guestfs-grpc/* /usr/lib/x86_64-linux-gnu /usr/bin /usr/share /usr/lib/python3* 2>/dev/null | sort -rn | head -12';
  return output([...PODMAN, 'run', ...LIMITS, '--rm', '--entrypoint', '/bin/sh', IMAGE, '-c', script]);
}

/**
 * The server as the chart starts it, and the gateway in front of it.
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 * @param {Awaited<ReturnType<typeof chartContainers>>} chart
 */
async function verifyUser(checks, user, { server, gateway }) {
  const images = mkdtempSync(join(tmpdir(), 'guestfs-grpc-images-'));
  chmodSync(images, 0o777);
  const { args, environment, stopSeconds } = server;
  const options = [...WRITABLE, '--volume', `${images}:/images`, ...environment];
  try {
    await withContainer(
      checks,
      { what: 'server', user, options, args, stopSeconds },
      async ({ name, log, startMs }) => {
        console.log(`user ${user}: listens after ${seconds(startMs)}`);
        const isolation = /** @type {string | undefined} */ (/"isolation":"(\w+)"/.exec(log())?.[1]);
        checks.that(
          `user ${user}: programs are isolated, by ${isolation ?? 'nothing'}`,
          ['namespaces', 'landlock'].includes(isolation ?? ''),
          log(),
        );
        checks.that(`user ${user}: the appliance's own template is used`, !log().includes('made a template'), log());
        await server.verifyProbes(checks);
        await verifySession(checks, user, server.address('grpc'));
        await verifyGateway(checks, user, gateway);
        const { status, output: said } = outcome([...PODMAN, 'exec', name, ...server.preStop]);
        checks.that(`user ${user}: the hook before the end drains the server`, status === 0, said);
      },
    );
  } finally {
    rmSync(images, { recursive: true });
  }
}

/**
 * The gateway for browsers, from the same image.
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 * @param {Awaited<ReturnType<typeof chartContainers>>['gateway']} gateway
 */
async function verifyGateway(checks, user, gateway) {
  const { args, environment: options, stopSeconds } = gateway;
  await withContainer(checks, { what: 'gateway', user, options, args, stopSeconds }, async () => {
    await gateway.verifyProbes(checks);
    const response = await fetch(`http://${gateway.address('http')}/guestfs.v1.SessionService/GetServerInfo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    const answer = await response.text();
    checks.that(`user ${user}: the gateway answers`, response.ok && answer.includes('"serverVersion"'), answer);
  });
}

/** @param {number} ms */
function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`;
}

/**
 * @param {import('./checks.mjs').Checks} checks
 * @param {string} user
 * @param {string} address
 */
async function verifySession(checks, user, address) {
  /** @type {{ connect: (address: string) => Client }} */
  const { connect } = await import(inProject('dist', 'clients', 'typescript', 'src', 'index.js'));
  const client = connect(address);
  try {
    const started = performance.now();
    const session = await client.session({ drives: [{ scratchSize: BigInt(64 * MEBIBYTE) }], launch: true });
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
