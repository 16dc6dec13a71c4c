/** The containers of the chart's pods, on this machine: with their environment, their probes and their hooks. */
import { setTimeout as wait } from 'node:timers/promises';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { inProject } from '../support/project.mjs';
import { StepFailed } from '../support/run.mjs';
import { podsIn, rendered } from './chart.mjs';
import { freePort } from './freePort.mjs';
import { helm } from './tools.mjs';

/** The container of the chart's simplest values that serves gRPC, and the gateway's in front of it. */
export async function chartContainers() {
  const pods = podsIn(
    rendered(
      await helm(),
      inProject('deploy', 'helm', 'ci', 'single.yaml'),
      // There is no load balancer that has to notice.
      ...['--set', 'gateway.enabled=true', '--set', 'drainDelay=1'],
    ),
  );
  const grpc = await freePort();
  /** @param {string} name */
  const named = async (name) => {
    for (const { containers, terminationGracePeriodSeconds: stopSeconds } of pods) {
      const container = containers.find((one) => one.name === name);
      if (container === undefined) continue;
      const ports = new Map([[50_051, grpc]]);
      for (const { containerPort } of container.ports)
        if (!ports.has(containerPort)) ports.set(containerPort, await freePort());
      return new ChartContainer(container, ports, stopSeconds);
    }
    throw new StepFailed(`the chart has no container "${name}"`);
  };
  return { server: await named('server'), gateway: await named('gateway') };
}

/** A container of a pod, whose ports are others on this machine. */
class ChartContainer {
  #container;
  #ports;

  /**
   * @param {import('./chart.mjs').Container} container
   * @param {ReadonlyMap<number, number>} ports of this machine, by those of the pod
   * @param {number} stopSeconds
   */
  constructor(container, ports, stopSeconds) {
    this.#container = container;
    this.#ports = ports;
    this.stopSeconds = stopSeconds;
  }

  /** What the chart passes to the image. */
  get args() {
    return this.#container.args ?? [];
  }

  /** The command of the hook that is run before the container is told to end. */
  get preStop() {
    return this.#container.lifecycle?.preStop.exec.command ?? [];
  }

  /**
   * Where a port of the pod is reached on this machine.
   * @param {string} name
   */
  address(name) {
    const port = this.#container.ports.find((one) => one.name === name)?.containerPort;
    if (port === undefined) throw new StepFailed(`the ${this.#container.name} has no port "${name}"`);
    return `127.0.0.1:${String(this.#ports.get(port))}`;
  }

  /** Its environment, as options of podman. */
  get environment() {
    return this.#container.env
      .filter(({ value }) => value !== undefined)
      .flatMap(({ name, value = '' }) => ['--env', `${name}=${this.#here(value)}`]);
  }

  /**
   * A value in which addresses of the pod, and of the service, are those of this machine.
   * @param {string} value
   */
  #here(value) {
    const [, port] = /^[\w.-]+:(\d+)$/.exec(value) ?? [];
    const here = this.#ports.get(Number(port));
    return here === undefined ? value : `127.0.0.1:${String(here)}`;
  }

  /**
   * Asks each of its probes as the kubelet does, until it succeeds.
   * @param {import('./checks.mjs').Checks} checks
   */
  async verifyProbes(checks) {
    const { name, startupProbe, readinessProbe, livenessProbe } = this.#container;
    for (const [kind, probe] of Object.entries({ startupProbe, readinessProbe, livenessProbe })) {
      const problem = await this.#failure(probe);
      checks.that(`the ${kind} of the ${name} succeeds`, problem === undefined, problem);
    }
  }

  /** @param {import('./chart.mjs').Probe} probe */
  async #failure(probe) {
    let problem;
    for (let attempt = 0; attempt < probe.failureThreshold; attempt++) {
      if (attempt > 0) await wait(probe.periodSeconds * 1000);
      problem = await this.#ask(probe).catch((error) => String(error));
      if (problem === undefined) return undefined;
    }
    return problem;
  }

  /**
   * @param {import('./chart.mjs').Probe} probe
   * @returns {Promise<string | undefined>} why it fails
   */
  async #ask({ httpGet, grpc, timeoutSeconds }) {
    if (httpGet !== undefined) {
      const tooLong = new AbortController();
      const limit = setTimeout(() => tooLong.abort(), timeoutSeconds * 1000);
      try {
        const response = await fetch(`http://${this.address(httpGet.port)}${httpGet.path}`, { signal: tooLong.signal });
        return response.ok ? undefined : `${String(response.status)}: ${await response.text()}`;
      } finally {
        clearTimeout(limit);
      }
    }
    if (grpc === undefined) return 'it asks nothing';
    return healthOf(`127.0.0.1:${String(this.#ports.get(grpc.port))}`, timeoutSeconds * 1000);
  }
}

/**
 * What gRPC's health check says of a server, unless it serves.
 * @param {string} address
 * @param {number} limitMs
 * @returns {Promise<string | undefined>}
 */
function healthOf(address, limitMs) {
  const Health = makeGenericClientConstructor(healthService, 'Health');
  const client = new Health(address, credentials.createInsecure());
  /**
   * @param {(problem: string | undefined) => void} resolve
   * @returns {import('@grpc/grpc-js').requestCallback<{ status: string }>}
   */
  const answered = (resolve) => (error, answer) => {
    client.close();
    if (error !== null) resolve(error.message);
    else resolve(answer?.status === 'SERVING' ? undefined : String(answer?.status));
  };
  return new Promise((resolve) => {
    client.check?.({}, { deadline: Date.now() + limitMs }, answered(resolve));
  });
}
