/** The examples for work over many images: what they refer to exists, and their retries are right. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { root, textOf } from '../../architecture/sourceTree.js';
import { readInspectCommandLine } from '../../../clients/command/commandLine.js';
import { EXIT_TRY_AGAIN } from '../../../clients/command/exitCode.js';
import { itWhen } from '../../support/itWhen.js';
import { missingForPython, PYTHON } from '../../support/pythonClient.js';

const RAY = join(root, 'examples', 'ray');

function documentOf<Shape>(path: string, shape: z.ZodType<Shape>): Shape {
  const documents = parseAllDocuments(textOf(path));
  expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
  expect(documents).toHaveLength(1);
  return shape.parse(documents[0]?.toJS());
}

const container = z.object({
  name: z.string().optional(),
  image: z.literal('guestfs-grpc'),
  command: z.array(z.string()),
  args: z.array(z.string()),
  env: z.array(z.object({ name: z.string(), value: z.string() })).optional(),
  volumeMounts: z.array(z.object({ name: z.string() })),
});
type Container = z.infer<typeof container>;

const workflow = documentOf(
  'examples/argo/workflow.yaml',
  z.object({
    apiVersion: z.literal('argoproj.io/v1alpha1'),
    kind: z.literal('Workflow'),
    spec: z.object({
      entrypoint: z.string(),
      parallelism: z.number().int().positive(),
      volumes: z.array(z.object({ name: z.string() })),
      templates: z.array(
        z.object({
          name: z.string(),
          steps: z
            .array(z.array(z.object({ name: z.string(), template: z.string(), withParam: z.string().optional() })))
            .optional(),
          retryStrategy: z.object({ expression: z.string() }).optional(),
          container: container.optional(),
        }),
      ),
    }),
  }),
);
const job = documentOf(
  'examples/argo/job.yaml',
  z.object({
    apiVersion: z.literal('batch/v1'),
    kind: z.literal('Job'),
    spec: z.object({
      completionMode: z.literal('Indexed'),
      backoffLimitPerIndex: z.number(),
      podFailurePolicy: z.object({
        rules: z.array(
          z.object({
            action: z.string(),
            onExitCodes: z
              .object({ containerName: z.string(), operator: z.string(), values: z.array(z.number()) })
              .optional(),
          }),
        ),
      }),
      template: z.object({
        spec: z.object({
          restartPolicy: z.literal('Never'),
          containers: z.array(container).length(1),
          volumes: z.array(z.object({ name: z.string() })),
        }),
      }),
    }),
  }),
);
const images = documentOf(
  'examples/argo/images.yaml',
  z.object({ kind: z.literal('ConfigMap'), data: z.object({ 'images.txt': z.string() }) }),
);

const templateOf = (name: string) => workflow.spec.templates.find((template) => template.name === name);
const jobContainer = job.spec.template.spec.containers[0] as Container;
const inspect = templateOf('inspect')?.container as Container;

/** Runs the program of a pod with a `guestfs-grpc` that writes its arguments, or fails. */
function runPod(
  { command, args }: Container,
  given: readonly string[],
  { env = {}, exitCode = 0 }: { readonly env?: NodeJS.ProcessEnv; readonly exitCode?: number } = {},
): { readonly status: number | null; readonly report: string } {
  const directory = mkdtempSync(join(tmpdir(), 'pod-'));
  try {
    writeFileSync(
      join(directory, 'guestfs-grpc'),
      `#!/bin/sh\n[ ${exitCode} = 0 ] || exit ${exitCode}\nprintf '%s\\n' "$@"\n`,
      { mode: 0o755 },
    );
    writeFileSync(join(directory, 'images.txt'), images.data['images.txt']);
    const [script = '', ...rest] = args;
    const here = script.replaceAll(/\/(?:reports|images)\//g, `${directory}/`);
    const [program = '', ...flags] = command;
    const { status } = spawnSync(program, [...flags, here, ...rest.slice(0, 1), ...given], {
      env: { ...process.env, PATH: `${directory}:${process.env['PATH'] ?? ''}`, ...env },
    });
    const report = spawnSync('sh', ['-c', `cat ${directory}/[0-9].json`], { encoding: 'utf8' }).stdout;
    return { status, report };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The command line of `guestfs-grpc` that a pod has run is one that it takes. */
function expectCommand(report: string, image: string): void {
  const [name, ...args] = report.trimEnd().split('\n');
  expect(name).toBe('inspect');
  expect(readInspectCommandLine(args)).toMatchObject({ images: [image], format: 'json' });
}

describe('the workflow for Argo', () => {
  test('refers to templates and volumes that it has', () => {
    const steps = workflow.spec.templates.flatMap((template) => (template.steps ?? []).flat());
    expect(templateOf(workflow.spec.entrypoint)).toBeDefined();
    for (const { template } of steps) expect(templateOf(template)).toBeDefined();
    for (const step of steps.filter(({ withParam }) => withParam !== undefined))
      expect(steps.map(({ name }) => `{{steps.${name}.outputs.result}}`)).toContain(step.withParam);
    const volumes = workflow.spec.volumes.map(({ name }) => name);
    for (const { container: one } of workflow.spec.templates)
      for (const { name } of one?.volumeMounts ?? []) expect(volumes).toContain(name);
  });

  test('lists the images as JSON, whatever their names contain', () => {
    const directory = mkdtempSync(join(tmpdir(), 'list-'));
    try {
      const list = join(directory, 'images.txt');
      writeFileSync(list, 'a.img\n\n  b "c" {{x}}.img \n');
      const { command, args } = templateOf('list')?.container as Container;
      const script = (args[0] ?? '').replace('/images/images.txt', list);
      const text = execFileSync(process.execPath, [...command.slice(1), script], { encoding: 'utf8' });
      expect(JSON.parse(text)).toEqual([
        { image: 'a.img', number: '0' },
        { image: 'b "c" {{x}}.img', number: '1' },
      ]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('inspects an image by a command that exists, and keeps whole reports only', () => {
    const { status, report } = runPod(inspect, ['-a; "$(b)".img', '7']);
    expect(status).toBe(0);
    expectCommand(report, '-a; "$(b)".img');
    expect(runPod(inspect, ['a.img', '7'], { exitCode: 75 })).toEqual({ status: 75, report: '' });
  });

  test('repeats what the exit code says', () => {
    expect(templateOf('inspect')?.retryStrategy?.expression).toBe(
      `lastRetry.status == "Error" || asInt(lastRetry.exitCode) == ${EXIT_TRY_AGAIN}`,
    );
  });
});

describe('the indexed Job', () => {
  test('inspects the line of its index', () => {
    const { status, report } = runPod(jobContainer, [], { env: { JOB_COMPLETION_INDEX: '1' } });
    expect(status).toBe(0);
    expectCommand(report, 'machines/web-0002.qcow2');
    expect(runPod(jobContainer, [], { env: { JOB_COMPLETION_INDEX: '1' }, exitCode: 1 })).toEqual({
      status: 1,
      report: '',
    });
  });

  test('repeats what the exit code says', () => {
    const rules = job.spec.podFailurePolicy.rules;
    expect(rules.find(({ action }) => action === 'FailIndex')?.onExitCodes).toEqual({
      containerName: jobContainer.name,
      operator: 'NotIn',
      values: [EXIT_TRY_AGAIN],
    });
  });

  test('mounts the volumes that it has', () => {
    const volumes = job.spec.template.spec.volumes.map(({ name }) => name);
    for (const { name } of jobContainer.volumeMounts) expect(volumes).toContain(name);
  });
});

test('both tell the command its server by a variable that it reads', () => {
  const help = readInspectCommandLine(['--help']);
  for (const { env = [] } of [inspect, jobContainer])
    for (const { name } of env) expect(help).toContain(`env: ${name}`);
});

itWhen('the function for Ray and Dask', missingForPython('grpc', 'google.protobuf'))(
  'the function for Ray and Dask passes its own tests',
  () => {
    const { status, stderr } = spawnSync(
      PYTHON,
      ['-W', 'error::ResourceWarning', '-m', 'unittest', 'test_inspect_image'],
      {
        cwd: RAY,
        env: { ...process.env, PYTHONPATH: join(root, 'clients', 'python'), PYTHONDONTWRITEBYTECODE: '1' },
        encoding: 'utf8',
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(/^Ran \d\d tests in [^]*^OK/m) });
  },
  120_000,
);

itWhen('the programs for Ray and Dask', missingForPython('ast'))('the programs for Ray and Dask can be parsed', () => {
  for (const name of ['with_ray.py', 'with_dask.py'])
    execFileSync(PYTHON, ['-c', 'import ast, sys; ast.parse(open(sys.argv[1]).read())', join(RAY, name)]);
});
