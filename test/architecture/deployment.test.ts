/** What is in deploy/ knows the flags that there are, and the container's build gets the files that it needs. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Option } from 'commander';
import { FLAGS } from '../../src/cli/flags.js';
import { GATEWAY_FLAGS } from '../../src/cli/gatewayFlags.js';
import { root, textOf } from './sourceTree.js';

const variables = (flags: readonly Option[]): string[] => flags.flatMap(({ envVar }) => envVar ?? []);
const names = (flags: readonly Option[]): Set<string> => new Set(flags.flatMap(({ long }) => long ?? []));
const texts = readdirSync(join(root, 'deploy'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.name.endsWith('.json'))
  .map(({ parentPath, name }) => join(parentPath, name).slice(root.length));

test.each(texts)('%s names no variable that is none', (path) => {
  const known = new Set([...variables(FLAGS), ...variables(GATEWAY_FLAGS)]);
  const named = [...textOf(path).matchAll(/GUESTFS_GRPC_[A-Z_]+[A-Z]\b/g)].map(([name]) => name);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test.each(readdirSync(join(root, 'deploy/systemd')))('%s names no flag that is none', (unit) => {
  const [line = '', command = ''] = /^ExecStart=\S+ guestfs-grpc (serve|gateway) .*$/m.exec(
    textOf(`deploy/systemd/${unit}`),
  ) ?? ['', 'serve'];
  const known = names(command === 'gateway' ? GATEWAY_FLAGS : FLAGS);
  expect([...line.matchAll(/--[a-z-]+/g)].map(([flag]) => flag).filter((flag) => !known.has(flag))).toEqual([]);
});

describe('the chart', () => {
  interface Environment {
    readonly propertyNames: { readonly then: { readonly enum: readonly string[] } };
  }
  const { env, gateway } = (
    JSON.parse(textOf('deploy/helm/values.schema.json')) as {
      readonly properties: {
        readonly env: Environment;
        readonly gateway: { readonly properties: { readonly env: Environment } };
      };
    }
  ).properties;

  test.each([
    ['the server', 'statefulset', FLAGS, env],
    ['the gateway', 'gateway', GATEWAY_FLAGS, gateway.properties.env],
  ])('sets each flag of %s by a value, or takes it from "env"', (_, template, flags, { propertyNames }) => {
    const text = textOf(`deploy/helm/templates/${template}.yaml`);
    const set = new Set([...text.matchAll(/- name: (GUESTFS_GRPC_\w+)/g)].map(([, name]) => name));
    expect(propertyNames.then.enum).toEqual(variables(flags).filter((name) => !set.has(name)));
  });
});

test("the container's build gets the sources of the package", () => {
  const [first, ...rules] = textOf('.containerignore').trim().split('\n');
  expect(first).toBe('*');
  const given = new Set(rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1)));
  const { files } = JSON.parse(textOf('package.json')) as { readonly files: readonly string[] };
  const { include } = JSON.parse(textOf('tsconfig.build.json')) as { readonly include: readonly string[] };
  const packed = files.filter((path) => !path.startsWith('!') && !path.startsWith('dist/'));
  const needed = [...include, ...packed, 'scripts', 'package.json', 'package-lock.json'];
  const folders = [...new Set(needed.map((path) => path.split('/')[0] ?? ''))];
  expect(folders.filter((path) => !given.has(path))).toEqual([]);
});
