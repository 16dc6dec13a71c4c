/** Programs for the checks that Debian does not have, or has too old: from their Go modules. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { isInstalled, run, StepFailed } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { output } from './output.mjs';

/** They take minutes to build, and are the same for all checkouts. */
const TOOLS = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'guestfs-grpc', 'deploy');

const KUBERNETES = '1.34.4';
const HELM = 'helm.sh/helm/v3/cmd/helm@v3.22.0';

/** Modules with the definitions of custom resources, and the files in them. */
const PROMETHEUS_OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const DEFINITIONS = [
  [PROMETHEUS_OPERATOR, 'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml'],
  [PROMETHEUS_OPERATOR, 'example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml'],
  ['github.com/kedacore/keda/v2@v2.21.0', 'config/crd/bases/keda.sh_scaledobjects.yaml'],
  ['istio.io/api@v1.32.0', 'kubernetes/customresourcedefinitions.gen.yaml'],
  ['github.com/argoproj/argo-workflows/v4@v4.0.5', 'manifests/base/crds/full/argoproj.io_workflows.yaml'],
];

function requireGo() {
  if (!isInstalled('go')) throw new StepFailed('Go is needed, to build Helm and the API server of Kubernetes');
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

/** Files with the definitions of the custom resources that the chart, the configuration of Istio and the examples use. */
export function customResourceDefinitions() {
  return DEFINITIONS.map(([module = '', path = '']) => join(moduleDirectory(module), path));
}

/**
 * Builds a program of a module that replaces others, which `go install` does not take: in a module of our own, with the
 * same replacements.
 * @param {string} module with its version
 * @param {string} program
 * @param {string} path of the result
 * @param {string} [published] version of those that are parts of the module's own repository
 */
async function build(module, program, path, published = '') {
  const directory = join(TOOLS, basename(program));
  mkdirSync(directory, { recursive: true });
  /** @type {{ Go: string, Replace: { Old: { Path: string }, New: { Path: string, Version?: string } }[] | null }} */
  const { Go, Replace } = JSON.parse(output(['go', 'mod', 'edit', '-json', join(moduleDirectory(module), 'go.mod')]));
  const replaced = (Replace ?? []).map(({ Old: { Path }, New: { Path: by, Version = '' } }) =>
    by.startsWith('./') ? `replace ${Path} => ${Path} ${published}` : `replace ${Path} => ${by} ${Version}`,
  );
  const requirement = `require ${module.replace('@', ' ')}`;
  writeFileSync(join(directory, 'go.mod'), ['module tools', `go ${Go}`, requirement, ...replaced, ''].join('\n'));
  writeFileSync(join(directory, 'tools.go'), `//go:build tools\n\npackage tools\n\nimport _ "${program}"\n`);
  await run(['go', 'mod', 'tidy'], { cwd: directory });
  await run(['nice', 'go', 'build', '-o', path, program], { cwd: directory });
}

/** Path of the API server of Kubernetes. */
export function apiServer() {
  return once(`bin/kube-apiserver-${KUBERNETES}`, (path) =>
    build(
      ...[`k8s.io/kubernetes@v${KUBERNETES}`, 'k8s.io/kubernetes/cmd/kube-apiserver', path],
      `v0.${KUBERNETES.replace(/^1\./, '')}`,
    ),
  );
}
