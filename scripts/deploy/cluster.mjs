/**
 * The API server of Kubernetes has to accept every object of the chart, of the configuration for Istio and of the
 * examples, with unknown fields refused, and pods in a namespace that enforces the Pod Security Standard "restricted".
 * No controller runs, so the pods that the chart's StatefulSet and Deployment would make are made here.
 */
import { readFileSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { StepFailed } from '../support/run.mjs';
import { rendered, valueSets } from './chart.mjs';
import { Cluster, define, objectsOf, restrictedNamespace } from './kubernetes.mjs';
import { apiServer, customResourceDefinitions, helm } from './tools.mjs';

const NAMESPACE = 'guestfs';

/**
 * @typedef {import('./kubernetes.mjs').KubernetesObject} KubernetesObject
 * @typedef {KubernetesObject & { spec: { template: { metadata: object, spec: PodSpec } } }} PodOwner
 * @typedef {{ containers: { securityContext: { capabilities?: object } }[] }} PodSpec
 */

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
    await verifyExamples(checks, cluster);
  } finally {
    await cluster.stop();
  }
}

/**
 * The examples of work over many images.
 * @param {import('./checks.mjs').Checks} checks
 * @param {Cluster} cluster
 */
async function verifyExamples(checks, cluster) {
  const namespace = `${NAMESPACE}-examples`;
  await restrictedNamespace(cluster, namespace);
  // A controller makes it in a cluster.
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } };
  const refusal = await cluster.create(account, namespace);
  if (refusal !== undefined) throw new StepFailed(refusal);
  const objects = ['images', 'job', 'workflow'].flatMap((name) =>
    objectsOf(readFileSync(inProject('examples', 'argo', `${name}.yaml`), 'utf8')),
  );
  for (const object of objects) await accept(checks, cluster, object, namespace, 'examples');
  await verifyPods(checks, cluster, objects, namespace, 'examples');
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
  const name = object.metadata.name ?? object.metadata.generateName;
  checks.that(`Kubernetes accepts ${object.kind} ${String(name)} (${from})`, refusal === undefined, refusal);
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
    objects.filter(({ kind }) => ['StatefulSet', 'Deployment', 'Job'].includes(kind))
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
