/** A real API server of Kubernetes, with etcd and nothing else: no controller runs. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseAllDocuments, stringify } from 'yaml';
import { StepFailed } from '../support/run.mjs';
import { freePort } from './freePort.mjs';
import { Processes } from './processes.mjs';

const TOKEN = 'verify';
const START_MS = 300_000;
const ATTEMPT_MS = 500;

/**
 * @typedef {{ name?: string, generateName?: string, namespace?: string, labels?: object }} Metadata
 * @typedef {{ apiVersion: string, kind: string, metadata: Metadata }} KubernetesObject
 */

/**
 * An answer of the API server: an object, or a status.
 * @typedef {{ message?: string, data?: Record<string, string>, status?: { conditions?: { type: string, status: string }[] } }} Answer
 */

/** Plurals that are not formed by adding an s. */
const PLURALS = /** @type {Record<string, string>} */ ({
  networkpolicy: 'networkpolicies',
  workloadentry: 'workloadentries',
  authorizationpolicy: 'authorizationpolicies',
});

/**
 * The objects in YAML.
 * @param {string} text
 */
export function objectsOf(text) {
  return parseAllDocuments(text)
    .map((document) => /** @type {KubernetesObject | null} */ (document.toJS()))
    .filter((object) => object !== null);
}

export class Cluster {
  #processes = new Processes();
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
    const options = { cwd: this.#directory };
    this.#processes.run(
      [
        ...['etcd', '--data-dir', join(this.#directory, 'etcd')],
        ...['--listen-client-urls', etcd, '--advertise-client-urls', etcd],
        ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
      ],
      options,
    );
    this.#processes.run(
      [
        ...[program, '--etcd-servers', etcd, '--bind-address', '127.0.0.1', '--secure-port', String(this.#port)],
        ...['--cert-dir', join(this.#directory, 'certificates'), '--token-auth-file', tokens],
        ...['--service-account-issuer', 'https://verify.example', '--service-account-key-file', key],
        ...['--service-account-signing-key-file', key, '--service-cluster-ip-range', '10.96.0.0/16'],
        ...['--authorization-mode', 'RBAC'],
      ],
      options,
    );
    const last = performance.now() + START_MS;
    for (;;) {
      const { status } = await this.ask('GET', '/readyz').catch(() => ({ status: 0 }));
      if (status === 200) return;
      if (this.#processes.ended !== undefined || performance.now() > last)
        throw new StepFailed(`the API server did not start:\n${this.#processes.log}`);
      await wait(ATTEMPT_MS);
    }
  }

  /** Path of a file by which clients of Kubernetes find the API server, as its administrator. */
  get kubeconfig() {
    const path = join(this.#directory, 'kubeconfig');
    const server = `https://127.0.0.1:${this.#port}`;
    const authority = readFileSync(this.#authority).toString('base64');
    const text = stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'verify' },
      clusters: [{ name: 'verify', cluster: { server, 'certificate-authority-data': authority } }],
      users: [{ name: 'admin', user: { token: TOKEN } }],
      contexts: [{ name: 'verify', context: { cluster: 'verify', user: 'admin' } }],
    });
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  get #authority() {
    return join(this.#directory, 'certificates', 'apiserver.crt');
  }

  /**
   * One request.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<{ status: number | undefined, body: Answer, warning: string | undefined }>}
   */
  async ask(method, path, body) {
    const ca = readFileSync(this.#authority);
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
   * @param {{ dryRun?: boolean }} [options] `dryRun`: everything but storing it
   */
  async create(object, namespace, { dryRun = false } = {}) {
    const root = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`;
    const kind = object.kind.toLowerCase();
    const place = namespace === undefined ? '' : `/namespaces/${namespace}`;
    const query = `?fieldValidation=Strict${dryRun ? '&dryRun=All' : ''}`;
    const path = `${root}${place}/${PLURALS[kind] ?? `${kind}s`}${query}`;
    const { status, body, warning } = await this.ask('POST', path, object);
    return status === 201 ? warning : `${String(status)}: ${body.message ?? ''}`;
  }

  async stop() {
    await this.#processes.stop('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/**
 * Makes a namespace that enforces the Pod Security Standard "restricted".
 * @param {Cluster} cluster
 * @param {string} name
 */
export async function restrictedNamespace(cluster, name) {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const refusal = await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  if (refusal !== undefined) throw new StepFailed(`the namespace ${name} is refused: ${refusal}`);
}

/**
 * Defines the custom resources, and waits until they are served.
 * @param {Cluster} cluster
 * @param {readonly string[]} files
 */
export async function define(cluster, files) {
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
