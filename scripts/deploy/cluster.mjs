/**
 * A real API server of Kubernetes, with etcd and nothing else: it has to accept every object of the chart and of the
 * configuration for Istio, with unknown fields refused, and pods in a namespace that enforces the Pod Security Standard
 * "restricted". No controller runs, so the pods that the chart's StatefulSet and Deployment would make are made here.
 */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import { inProject } from '../support/project.mjs';
import { StepFailed } from '../support/run.mjs';
import { rendered, valueSets } from './chart.mjs';
import { apiServer, customResourceDefinitions, helm } from './tools.mjs';

const NAMESPACE = 'guestfs';
const TOKEN = 'verify';
const START_MS = 300_000;
const ATTEMPT_MS = 500;

/**
 * @typedef {{ apiVersion: string, kind: string, metadata: { name?: string, namespace?: string, labels?: object } }} KubernetesObject
 * @typedef {KubernetesObject & { spec: { template: { metadata: object, spec: PodSpec } } }} PodOwner
 * @typedef {{ containers: { securityContext: { capabilities?: object } }[] }} PodSpec
 */

/**
 * An answer of the API server: an object, or a status.
 * @typedef {{ message?: string, status?: { conditions?: { type: string, status: string }[] } }} Answer
 */

/** Plurals that are not formed by adding an s. */
const PLURALS = /** @type {Record<string, string>} */ ({
  networkpolicy: 'networkpolicies',
  authorizationpolicy: 'authorizationpolicies',
});

/** A free port of the loopback interface. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return address !== null && typeof address === 'object' ? address.port : 0;
}

/** @param {string} text */
function objectsOf(text) {
  return parseAllDocuments(text)
    .map((document) => /** @type {KubernetesObject | null} */ (document.toJS()))
    .filter((object) => object !== null);
}

/** @param {import('node:child_process').ChildProcess} child */
function hasEnded({ pid, exitCode, signalCode }) {
  return pid === undefined || exitCode !== null || signalCode !== null;
}

class Cluster {
  /** @type {import('node:child_process').ChildProcess[]} */
  #processes = [];
  #directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-cluster-'));
  #port = 0;

  /** @param {string} program */
  async start(program) {
    const [client, peer] = [await freePort(), await freePort()];
    this.#port = await freePort();
    const key = join(this.#directory, 'service-account.key');
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(key, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
    const tokens = join(this.#directory, 'tokens.csv');
    writeFileSync(tokens, `${TOKEN},admin,1,system:masters\n`);
    const etcd = `http://127.0.0.1:${client}`;
    this.#run('etcd', [
      ...['--data-dir', join(this.#directory, 'etcd'), '--listen-client-urls', etcd, '--advertise-client-urls', etcd],
      ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
    ]);
    this.#run(program, [
      ...['--etcd-servers', etcd, '--bind-address', '127.0.0.1', '--secure-port', String(this.#port)],
      ...['--cert-dir', join(this.#directory, 'certificates'), '--token-auth-file', tokens],
      ...['--service-account-issuer', 'https://verify.example', '--service-account-key-file', key],
      ...['--service-account-signing-key-file', key, '--service-cluster-ip-range', '10.96.0.0/16'],
      ...['--authorization-mode', 'RBAC'],
    ]);
    const last = performance.now() + START_MS;
    for (;;) {
      const { status } = await this.ask('GET', '/readyz').catch(() => ({ status: 0 }));
      if (status === 200) return;
      const ended = this.#processes.find(hasEnded);
      if (ended !== undefined || performance.now() > last)
        throw new StepFailed(`the API server did not start:\n${this.#log.slice(-3000)}`);
      await wait(ATTEMPT_MS);
    }
  }

  #log = '';

  /**
   * @param {string} program
   * @param {string[]} args
   */
  #run(program, args) {
    const child = spawn(program, args, { cwd: this.#directory, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes) => {
        this.#log = (this.#log + String(bytes)).slice(-100_000);
      });
    child.on('error', (error) => {
      this.#log += error.message;
    });
    this.#processes.push(child);
  }

  /**
   * One request.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<{ status: number | undefined, body: Answer, warning: string | undefined }>}
   */
  async ask(method, path, body) {
    const ca = readFileSync(join(this.#directory, 'certificates', 'apiserver.crt'));
    const asked = request({
      ...{ method, path, ca, host: '127.0.0.1', port: this.#port },
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = /** @type {[import('node:http').IncomingMessage]} */ (await once(asked, 'response'));
    let text = '';
    for await (const part of response) text += String(part);
    /** @type {Answer} */
    const answer = text.startsWith('{') ? JSON.parse(text) : { message: text };
    return { status: response.statusCode, body: answer, warning: response.headers.warning };
  }

  /**
   * Creates an object, strictly; returns why it was refused, or what the server warns of.
   * @param {KubernetesObject} object
   * @param {string} [namespace]
   */
  async create(object, namespace) {
    const root = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`;
    const kind = object.kind.toLowerCase();
    const place = namespace === undefined ? '' : `/namespaces/${namespace}`;
    const query = '?fieldValidation=Strict';
    const path = `${root}${place}/${PLURALS[kind] ?? `${kind}s`}${query}`;
    const { status, body, warning } = await this.ask('POST', path, object);
    return status === 201 ? warning : `${String(status)}: ${body.message ?? ''}`;
  }

  async stop() {
    for (const child of this.#processes.reverse()) {
      if (hasEnded(child)) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyCluster(checks) {
  const program = await apiServer();
  const [chart, definitions] = [await helm(), customResourceDefinitions()];
  const cluster = new Cluster();
  try {
    await cluster.start(program);
    await define(cluster, definitions);
    for (const { name, path } of valueSets()) {
      const namespace = `${NAMESPACE}-${name}`;
      await restrictedNamespace(cluster, namespace);
      const objects = objectsOf(rendered(chart, path)).map(({ metadata, ...object }) => {
        const { namespace: _, ...rest } = metadata;
        return { ...object, metadata: rest };
      });
      for (const object of objects) await accept(checks, cluster, object, namespace, name);
      await verifyPods(checks, cluster, objects, namespace, name);
    }
    await restrictedNamespace(cluster, NAMESPACE);
    const istio = readFileSync(inProject('deploy', 'istio', 'istio.yaml'), 'utf8').replaceAll('NAMESPACE', NAMESPACE);
    for (const object of objectsOf(istio)) await accept(checks, cluster, object, NAMESPACE, 'Istio');
  } finally {
    await cluster.stop();
  }
}

/**
 * @param {import('./checks.mjs').Checks} checks
 * @param {Cluster} cluster
 * @param {KubernetesObject} object
 * @param {string} namespace
 * @param {string} from
 */
async function accept(checks, cluster, object, namespace, from) {
  const refusal = await cluster.create(object, namespace);
  checks.that(`Kubernetes accepts ${object.kind} ${object.metadata.name} (${from})`, refusal === undefined, refusal);
}

/**
 * Pods as the controllers make them are accepted; with any of what "restricted" forbids, they are not.
 * @param {import('./checks.mjs').Checks} checks
 * @param {Cluster} cluster
 * @param {KubernetesObject[]} objects
 * @param {string} namespace
 * @param {string} from
 */
async function verifyPods(checks, cluster, objects, namespace, from) {
  const owners = /** @type {PodOwner[]} */ (
    objects.filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
  );
  for (const { kind, spec: owner } of owners) {
    const { metadata, spec } = owner.template;
    /**
     * @param {string} name
     * @param {(spec: PodSpec) => void} change
     */
    const pod = (name, change) => {
      const changed = structuredClone(spec);
      change(changed);
      const named = { ...metadata, name: `${kind.toLowerCase()}-${name}` };
      const object = { apiVersion: 'v1', kind: 'Pod', metadata: named, spec: changed };
      return cluster.create(object, namespace);
    };
    const refusal = await pod('as-it-is', () => undefined);
    checks.that(`Pod Security "restricted" accepts the pods of the ${kind} (${from})`, refusal === undefined, refusal);
    const lax = await pod('lax', ({ containers }) => {
      for (const { securityContext } of containers) delete securityContext.capabilities;
    });
    checks.that(
      `... and would refuse them with capabilities (${from})`,
      lax?.includes('violates PodSecurity "restricted') === true,
      lax,
    );
  }
}

/**
 * @param {Cluster} cluster
 * @param {string} name
 */
async function restrictedNamespace(cluster, name) {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const refusal = await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  if (refusal !== undefined) throw new StepFailed(`the namespace ${name} is refused: ${refusal}`);
}

/**
 * Defines the custom resources, and waits until they are served.
 * @param {Cluster} cluster
 * @param {readonly string[]} files
 */
async function define(cluster, files) {
  const names = [];
  for (const object of files.flatMap((file) => objectsOf(readFileSync(file, 'utf8')))) {
    const refusal = await cluster.create(object);
    if (refusal !== undefined) throw new StepFailed(`${String(object.metadata.name)} is refused: ${refusal}`);
    names.push(String(object.metadata.name));
  }
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const last = performance.now() + START_MS;
  for (const name of names) {
    for (;;) {
      const { body } = await cluster.ask('GET', `${path}/${name}`);
      const conditions = body.status?.conditions ?? [];
      if (conditions.some(({ type, status }) => type === 'Established' && status === 'True')) break;
      if (performance.now() > last) throw new StepFailed(`${name} is not served`);
      await wait(ATTEMPT_MS);
    }
  }
}
