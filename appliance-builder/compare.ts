/** Compares two appliances, byte by byte. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

import { readManifest } from './manifest.js';

/**
 * How two appliances differ, one line for each file that does; none if they are identical. When they are made of
 * different packages, only that is told: nothing else can be equal then.
 */
export async function differencesBetween(one: string, other: string): Promise<string[]> {
  const [first, second] = [await readManifest(one), await readManifest(other)];
  if (first === undefined || second === undefined)
    return [`${first === undefined ? one : other} has no manifest that can be read`];
  const packages = changedPackages(first.packages, second.packages);
  if (packages.length > 0) return packages;

  const names = [...new Set([...(await readdir(one)), ...(await readdir(other))])].sort();
  const differences: string[] = [];
  for (const name of names) {
    const { exitCode, stdout, stderr } = await execa('cmp', ['--', join(one, name), join(other, name)], {
      reject: false,
      env: { LC_ALL: 'C.UTF-8' },
    });
    if (exitCode !== 0) differences.push(`${name}: ${stdout || stderr || 'cannot be compared'}`);
  }
  return differences;
}

function changedPackages(first: Readonly<Record<string, string>>, second: Readonly<Record<string, string>>): string[] {
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])].sort();
  return names
    .filter((name) => first[name] !== second[name])
    .map((name) => `package ${name}: ${first[name] ?? 'none'}, then ${second[name] ?? 'none'}`);
}
