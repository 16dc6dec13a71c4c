/** Damaged partition tables: the script that mends them, run on images instead of drives. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mendTable } from '../../../../src/library/report/mending/tables.js';
import { Warnings } from '../../../../src/library/report/warnings.js';
import { emptyImage, run } from '../../../support/diskImages.js';
import { gptOf4096 } from '../../../support/guests/gptOf4096.js';
import { ScriptedActions } from './scriptedActions.js';

let scene: string;
let tools: string;

beforeAll(() => {
  scene = mkdtempSync(join(tmpdir(), 'tables-'));
  tools = join(scene, 'tools');
  mkdirSync(tools);
  const tool = (name: string, script: string): void => {
    writeFileSync(join(tools, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(tools, name), 0o755);
  };
  tool('blockdev', 'case $1 in --getsize64) stat -c %s "$2";; --getss) echo 512;; esac');
  tool('udevadm', ':');
});

afterAll(() => rmSync(scene, { recursive: true, force: true }));

/** Mends a table as on a drive; the warnings. */
async function mend(image: string): Promise<string[]> {
  const PATH = [tools, process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(delimiter);
  const actions = new ScriptedActions({
    debug: ({ text }: { text: string }) => ({
      result: execFileSync('sh', ['-c', text], { encoding: 'utf8', env: { ...process.env, PATH } }),
    }),
  });
  const warnings = new Warnings();
  const isMended = await mendTable(actions, image, 'field', warnings);
  expect(isMended).toBe(warnings.list.length > 0);
  return warnings.list.map(({ message }) => message.replace(image, 'drive'));
}

/** The partitions, by number: start and size in sectors, and name. */
function partitions(image: string): string[] {
  const lines = run('parted', '-ms', image, 'unit', 's', 'print').split('\n').slice(2);
  return lines.filter((line) => line !== '').map((line) => line.replace(/:[^:]*$/, ''));
}

describe('a partition table', () => {
  const image = (name: string, mebibytes = 64): string => emptyImage(join(scene, name), mebibytes);
  const sfdisk = (path: string, script: string): void => {
    execFileSync('/usr/sbin/sfdisk', ['-q', path], { input: script });
  };

  const overwrite = (path: string, offset: number, length: number): void => {
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(length, 0x78), 0, length, offset);
    closeSync(file);
  };

  it('whose GPT is damaged at the start is restored from its copy', async () => {
    const path = image('copy');
    run('sgdisk', '-n1:2048:+10M', '-c1:first', '-n2:0:0', path);
    run('dd', 'if=/dev/zero', `of=${path}`, 'bs=512', 'seek=1', 'count=1', 'conv=notrunc');
    expect(await mend(path)).toEqual([expect.stringContaining('the GPT at the start of the drive is damaged')]);
    expect(partitions(path)).toEqual(['1:2048s:22527s:20480s::first', '2:22528s:131038s:108511s::']);
  });

  it.each([
    ['the header', 542, 1],
    ['the entries', 1024, 100],
  ])('whose GPT is damaged at the start in %s is restored from its copy', async (_what, offset, length) => {
    const path = image(`partly-${offset}`);
    run('sgdisk', '-n1:2048:+10M', '-c1:first', '-n2:0:0', path);
    overwrite(path, offset, length);
    expect(await mend(path)).toEqual([expect.stringContaining('the GPT at the start of the drive is damaged')]);
    expect(partitions(path)).toEqual(['1:2048s:22527s:20480s::first', '2:22528s:131038s:108511s::']);
  });

  it.each([
    ['headers are gone', 512, 131_071 * 512, 512],
    ['headers are damaged', 542, 131_071 * 512 + 30, 1],
    ['entries are damaged', 1024, 131_039 * 512, 100],
  ])('of which both %s is lost', async (what, first, second, length) => {
    const path = image(what.replaceAll(' ', '-'));
    run('sgdisk', '-n1:2048:+10M', '-n2:0:0', path);
    overwrite(path, first, length);
    overwrite(path, second, length);
    expect(await mend(path)).toEqual([expect.stringContaining('both copies of the GPT are damaged')]);
  });

  it('of a GPT image that was cut off ends with the image', async () => {
    const path = image('cut');
    run('sgdisk', '-n1:2048:+10M', '-n2:0:+20M', '-c2:it is\'s "quoted"', '-n3:0:0', path);
    truncateSync(path, 20 << 20);
    expect(await mend(path)).toEqual([
      'drive: the drive ends before the end of partition 2, 3: the image was probably cut off',
    ]);
    expect(partitions(path)).toEqual(['1:2048s:22527s:20480s::', '2:22528s:40926s:18399s::it is\'s "quoted"']);
  });

  it('of an MBR image that was cut off ends with the image, in an extended partition as well', async () => {
    const path = image('mbr');
    sfdisk(path, 'label: dos\n,10M,83\n,,5\n,10M,83\n,,82\n');
    truncateSync(path, 40 << 20);
    expect(await mend(path)).toEqual([
      'drive: the drive ends before the end of partition 2, 6: the image was probably cut off',
    ]);
    expect(partitions(path).map((line) => line.split(':', 3).join(':'))).toEqual([
      '1:2048s:22527s',
      '2:22528s:81919s',
      '5:24576s:45055s',
      '6:47104s:81919s',
    ]);
  });

  it('for sectors of another size is named', async () => {
    const path = image('4k');
    writeFileSync(path, gptOf4096(64));
    expect(await mend(path)).toEqual([expect.stringContaining('inspect the image with blocksize 4096')]);
  });

  it('that is sound, or not there, is left alone', async () => {
    const path = image('sound');
    run('sgdisk', '-n1:2048:+10M', path);
    expect(await mend(path)).toEqual([]);
    expect(await mend(image('blank', 1))).toEqual([]);
    expect(await mend(join(scene, 'missing'))).toEqual([]);
  });
});
