/**
 * Creates a template. An appliance boots without drives until its daemon is up; one drive is attached
 * and detached, which loads everything that a first drive needs; then the machine is paused. Every
 * clone starts from its memory, its device state and the overlay of its root.
 */
import type { FileHandle } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { unlessAborted } from '../../common/waiting.js';
import { ConsoleLog } from '../../common/consoleLog.js';
import { messageOf } from '../../common/errors.js';
import { decodeGuestText } from '../../common/guestText.js';
import type { Logger } from '../../common/logger.js';
import { createMemoryFile, sealMemoryFiles } from '../../common/memoryFile.js';
import { writeEmptyQcow2 } from '../../images/emptyQcow2.js';
import { DaemonConnection } from '../../protocol/daemonConnection.js';
import type { QemuProcess } from '../../qemu/qemuProcess.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { openBootFiles } from '../bootFiles.js';
import type { PreflightResult } from '../preflight.js';
import { quoteEnd } from '../launchFailure.js';
import { startMonitoredMachine, type StartedMachine } from '../startMachine.js';
import { warmUpScript } from '../appliance/applianceScripts.js';
import { saveState } from './migration.js';
import { warmUp } from './warmUp.js';
import { Template } from './template.js';
import type { TemplateConfig } from './templateKey.js';
import { addTemplateMachine } from './templateMachine.js';

/** How long qemu may take to exit once its state is saved. */
const END_MS = 10_000;
const MEBIBYTE = 1 << 20;

/** Options for creating a template. */
export interface MakerOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly temporaryDirectory: string;
}

/**
 * Creates a template.
 * @param base must stay open until the promise settles
 * @throws Error explaining why no template can be created from this appliance or on this host
 */
export async function makeTemplate(
  key: string,
  config: TemplateConfig,
  base: PreflightResult,
  options: MakerOptions,
  signal: AbortSignal,
): Promise<Template> {
  // A memory file can be created larger than the host's memory, which the appliance's page tables would then exhaust.
  if (config.memsizeMb * MEBIBYTE > totalmem())
    throw new Error(`this server has less memory than ${config.memsizeMb} MiB`);
  const started = performance.now();
  const kept: FileHandle[] = [];
  try {
    const memory = await createMemoryFile(config.memsizeMb * MEBIBYTE, signal);
    kept.push(memory);
    const overlay = await createMemoryFile(0, signal);
    kept.push(overlay);
    await writeEmptyQcow2(overlay, base.appliance.rootImage.virtualSize);

    const console = new ConsoleLog();
    const { accelerator, qemuBinary } = base;
    const machine = await startMonitoredMachine({
      ...options,
      ...{ accelerator, qemuBinary, signal },
      groups: base.kvmGroups,
      memsizeMb: config.memsizeMb,
      network: false,
      savesState: true,
      // As its clones have it: the state of a machine contains that of qemu's own network.
      guestNetwork: config.network,
      compose: async (line, site) => {
        const bootFiles = await openBootFiles(base.appliance, site);
        const name = `guestfs-template-${key}`;
        addTemplateMachine(line, config, {
          ...bootFiles,
          overlay,
          base,
          memory,
          name,
          saved: undefined,
          guestNetwork: site.guestNetwork,
        });
        return { drives: undefined };
      },
      onConsole: (bytes) => console.append(bytes),
    });
    const saved = await saveMachine(machine, console, signal).finally(() => machine.undo.run());
    const state = await createMemoryFile(saved.length, signal);
    kept.push(state);
    await state.write(saved, 0, saved.length, 0);
    await sealMemoryFiles([memory, state, overlay], signal);

    options.logger.info('made a template', {
      template: key,
      memsizeMb: config.memsizeMb,
      accelerator: base.accelerator,
      ms: Math.round(performance.now() - started),
    });
    return new Template(key, { memory, state, overlay }, { console: console.tail(), createdAt: Date.now() });
  } catch (error) {
    await Promise.all(kept.map((file) => file.close()));
    throw error;
  }
}

type Booting = StartedMachine<unknown> & { readonly monitor: QmpClient };

/** Waits until the appliance is up, warms it up, saves the machine, and ends it. */
async function saveMachine(
  { qemu, monitor, directory }: Booting,
  console: ConsoleLog,
  signal: AbortSignal,
): Promise<Buffer> {
  await withOutput(qemu, () => decodeGuestText(console.tail()), prepareAppliance(qemu, monitor, signal));
  await monitor.execute('stop', undefined, signal);
  const saved = await saveState({ monitor, signal }, directory);
  await qemu.stop(END_MS);
  return saved;
}

async function prepareAppliance(qemu: QemuProcess, monitor: QmpClient, signal: AbortSignal): Promise<void> {
  const connection = new DaemonConnection(qemu.daemon, { onProgress: () => undefined });
  await unlessAborted(connection.awaitLaunch(), signal);
  await warmUp({ monitor, connection }, warmUpScript(), signal);
}

/** The result of `work`; its error is amended by the output of qemu and of the console. */
async function withOutput<Value>(qemu: QemuProcess, console: () => string, work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    const output = quoteEnd(qemu.messages(), 400);
    throw new Error(
      `${messageOf(error)}${output === '' ? '' : `; qemu output: ${output}`}; last console output: ${quoteEnd(console(), 400)}`,
      { cause: error },
    );
  }
}
