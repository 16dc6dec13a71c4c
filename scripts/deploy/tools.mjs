/** Programs for the checks that Debian does not have, or has too old: from their Go modules. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isInstalled, run, StepFailed } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { output } from './output.mjs';

/** They take minutes to build, and are the same for all checkouts. */
const TOOLS = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'guestfs-grpc', 'deploy');

export const KUBERNETES = '1.34.4';
const HELM = 'helm.sh/helm/v3/cmd/helm@v3.22.0';

/** Modules with the definitions of custom resources, and the files in them. */
const PROMETHEUS_OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const DEFINITIONS = [
  [PROMETHEUS_OPERATOR, 'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml'],
  [PROMETHEUS_OPERATOR, 'example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml'],
  ['github.com/kedacore/keda/v2@v2.21.0', 'config/crd/bases/keda.sh_scaledobjects.yaml'],
  ['istio.io/api@v1.32.0', 'kubernetes/customresourcedefinitions.gen.yaml'],
];

function requireGo() {
  if (!isInstalled('go'))
    throw new StepFailed('Go 1.24 or newer is needed, to build Helm and the API server of Kubernetes');
}

/**
 * Runs `make` unless the file exists.
 * @param {string} name
 * @param {(path: string) => Promise<void>} make
 */
async function once(name, make) {
  const path = join(TOOLS, name);
  if (existsSync(path)) return path;
  mkdirSync(TOOLS, { recursive: true });
  say(`making ${name}`);
  await make(path);
  if (!existsSync(path)) throw new StepFailed(`${name} was not made`);
  return path;
}

/** Path of Helm. */
export function helm() {
  return once('bin/helm', async () => {
    requireGo();
    await run(['nice', 'go', 'install', HELM], { env: { GOBIN: join(TOOLS, 'bin') }, cwd: TOOLS });
  });
}

/**
 * Directory of a Go module.
 * @param {string} module with its version
 */
function moduleDirectory(module) {
  requireGo();
  mkdirSync(TOOLS, { recursive: true });
  /** @type {{ Dir: string }} */
  const { Dir } = JSON.parse(output(['go', 'mod', 'download', '-json', module], { cwd: TOOLS }));
  return Dir;
}

/** Files with the definitions of the custom resources that the chart and the configuration of Istio use. */
export function customResourceDefinitions() {
  return DEFINITIONS.map(([module = '', path = '']) => join(moduleDirectory(module), path));
}

/**
 * Path of the API server of Kubernetes. Its module states where its parts are in its own repository: for others, they
 * have to be replaced by their published versions.
 */
export function apiServer() {
  return once(`bin/kube-apiserver-${KUBERNETES}`, async (path) => {
    const directory = join(TOOLS, 'kube-apiserver');
    mkdirSync(directory, { recursive: true });
    const module = `k8s.io/kubernetes@v${KUBERNETES}`;
    /** @type {{ Replace: { Old: { Path: string }, New: { Path: string } }[] }} */
    const { Replace } = JSON.parse(output(['go', 'mod', 'edit', '-json', join(moduleDirectory(module), 'go.mod')]));
    const published = `v0.${KUBERNETES.replace(/^1\./, '')}`;
    const replaced = Replace.filter(({ New }) => New.Path.startsWith('./staging/')).map(
      ({ Old: { Path } }) => `replace ${Path} => ${Path} ${published}`,
    );
    const requirement = `require k8s.io/kubernetes v${KUBERNETES}`;
    writeFileSync(
      join(directory, 'go.mod'),
      ['module apiserver', 'go 1.24.0', requirement, ...replaced, ''].join('\n'),
    );
    const imports = 'package tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver"\n';
    writeFileSync(join(directory, 'tools.go'), `//go:build tools\n\n${imports}`);
    await run(['go', 'mod', 'tidy'], { cwd: directory });
    await run(['nice', 'go', 'build', '-o', path, 'k8s.io/kubernetes/cmd/kube-apiserver'], { cwd: directory });
  });
}
