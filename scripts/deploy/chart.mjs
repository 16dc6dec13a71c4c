/** The Helm chart: linted, rendered with each set of values, and refused with values that cannot work. */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { inProject } from '../support/project.mjs';
import { misunderstanding } from './environment.mjs';
import { outcome, output } from './output.mjs';
import { helm } from './tools.mjs';

const CHART = inProject('deploy', 'helm');
const NAMESPACE = 'guestfs';
/** Older ones than this are not supported. */
const KUBERNETES = '1.30.0';

const POLICY = 'templates/networkpolicy.yaml';

/** Values that must be refused, and what is said then. */
const REFUSED = /** @type {const} */ ([
  [[], 'set auth.tlsSecret, or auth.insecureListen'],
  [['auth.insecureListen=true', 'auth.tlsSecret=x'], 'exclude each other'],
  [['auth.insecureListen=true', 'replicas=2'], 'more than one replica needs sessionKeySecret'],
  [['auth.tlsSecret=x', 'replicas=2', 'sessionKeySecret=k'], 'needs peerIdentities'],
  [['auth.insecureListen=true', 'auth.policySecret=p'], 'roles are for identities'],
  [['auth.insecureListen=true', 'auth.jwt.keysSecret=j'], 'needs issuer and audience'],
  [['auth.insecureListen=true', 'sessionKeySecret=k', 'autoscaling.kind=keda'], 'needs autoscaling.prometheusAddress'],
  [['auth.insecureListen=true', 'autoscaling.kind=sometimes'], 'autoscaling'],
  [['auth.insecureListen=true', 'replica=2'], 'replica'],
  [['auth.insecureListen=true', 'metrics.serviceMonitor=true'], 'need networkPolicy.scrapers'],
  [['auth.insecureListen=true', 'env.GUESTFS_GRPC_IDLE_TIMOUT=600'], 'GUESTFS_GRPC_IDLE_TIMOUT'],
  [['auth.insecureListen=true', 'env.GUESTFS_GRPC_POOL=1'], 'GUESTFS_GRPC_POOL'],
  [['auth.insecureListen=true', 'auth.proxyIdentities=dns:a'], 'auth.proxyIdentities needs client certificates'],
  [['auth.insecureListen=true', 'gateway.enabled=true', 'gateway.tlsSecret=g'], 'need each other'],
  [['auth.tlsSecret=x', 'gateway.enabled=true', 'gateway.tlsSecret=g'], 'needs auth.proxyIdentities'],
  [['auth.insecureListen=true', 'gateway.enabled=true', 'gateway.clientCertificates=true'], 'needs auth.clientCert'],
  [['auth.insecureListen=true', 'gateway.enabled=true', 'gateway.allowOrigins={*}'], 'allowOrigins'],
]);

/** The sets of values that are tried. */
export function valueSets() {
  return readdirSync(join(CHART, 'ci')).map((name) => ({
    name: basename(name, '.yaml'),
    path: join(CHART, 'ci', name),
  }));
}

/**
 * The objects of the chart, in YAML.
 * @param {string} program
 * @param {string} values
 * @param {string[]} settings flags of Helm that change values
 */
export function rendered(program, values, ...settings) {
  return output([
    ...[program, 'template', 'guestfs-grpc', CHART, '--namespace', NAMESPACE, '--kube-version', KUBERNETES],
    ...['--values', values, ...settings],
  ]);
}

/**
 * What is read of the chart's pods.
 * @typedef {object} Pod
 * @property {Container[]} containers
 * @property {number} terminationGracePeriodSeconds
 *
 * @typedef {object} Container
 * @property {string} name
 * @property {string[]} [args]
 * @property {import('./environment.mjs').Variable[]} env
 * @property {{ name: string, containerPort: number }[]} ports
 * @property {Probe} startupProbe
 * @property {Probe} readinessProbe
 * @property {Probe} livenessProbe
 * @property {{ preStop: { exec: { command: string[] } } }} [lifecycle]
 *
 * @typedef {object} Probe
 * @property {{ path: string, port: string }} [httpGet]
 * @property {{ port: number }} [grpc]
 * @property {number} periodSeconds
 * @property {number} failureThreshold
 * @property {number} timeoutSeconds
 */

/**
 * The pods that the objects of the chart describe.
 * @param {string} text
 */
export function podsIn(text) {
  const objects = parseAllDocuments(text).map(
    (document) => /** @type {{ spec?: { template?: { spec: Pod } } } | null} */ (document.toJS()),
  );
  return objects.flatMap((object) => object?.spec?.template?.spec ?? []);
}

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyChart(checks) {
  const program = await helm();
  for (const { name, path } of valueSets()) {
    const lint = outcome([program, 'lint', '--strict', CHART, '--values', path]);
    checks.that(`helm lint accepts the chart with the values "${name}"`, lint.status === 0, lint.output);
    const template = outcome([program, 'template', 'x', CHART, '--kube-version', KUBERNETES, '--values', path]);
    checks.that(`helm template renders the chart with the values "${name}"`, template.status === 0, template.output);
    for (const container of podsIn(template.stdout).flatMap(({ containers }) => containers)) {
      const problem = await misunderstanding(container);
      checks.that(`... and the ${container.name} understands its environment`, problem === undefined, problem);
    }
  }
  const template = [program, 'template', 'x', CHART, '--kube-version', KUBERNETES];
  const closed = outcome([...template, '--set', 'auth.insecureListen=true', '--show-only', POLICY]);
  checks.that(
    'nobody may scrape metrics unless the values say who',
    closed.stdout.includes('- port: grpc') && !closed.stdout.includes('- port: metrics'),
    closed.output,
  );
  for (const [values, text] of REFUSED) {
    const settings = values.flatMap((value) => ['--set', value]);
    const { status, output: said } = outcome([...template, ...settings]);
    checks.that(
      `values that cannot work are refused: ${values.join(', ') || 'none'}`,
      status !== 0 && said.includes(text),
      said,
    );
  }
}
