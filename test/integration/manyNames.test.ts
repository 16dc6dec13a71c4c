/** Queries about more names than fit into one request to the daemon. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, it } from '@jest/globals';
import type { Stat, Statns, Xattr } from '../../gen/proto/guestfs/v1/structs.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, type SessionClient } from '../support/testClient.js';

/** The server queries 1000 at a time: two full requests and a partial one. */
const COUNT = 2150;
const MISSING = 'missing';

const numbers = Array.from({ length: COUNT }, (_file, index) => index);
const fileOf = (index: number): string => `file-${index}`;
const linkOf = (index: number): string => `link-${index}`;
/** No two neighbours are alike. */
const sizeOf = (index: number): number => index % 300;
const valuesOf = (index: number): number => index % 3;

describeWithAppliance('many names', () => {
  const scene = serverForTests();
  let session: SessionClient;

  beforeAll(async () => {
    const tree = join(scene.server.images, 'tree');
    const directory = join(tree, 'many');
    mkdirSync(directory, { recursive: true });
    for (const index of numbers) {
      writeFileSync(join(directory, fileOf(index)), 'x'.repeat(sizeOf(index)));
      symlinkSync(`target of ${index}`, join(directory, linkOf(index)));
    }
    const image = emptyImage(join(scene.server.images, 'disk.img'), 64);
    run('mke2fs', '-q', '-t', 'ext4', '-N', '8192', '-d', tree, image);
    const commands = join(scene.server.images, 'commands');
    writeFileSync(
      commands,
      numbers
        .flatMap((index) =>
          ['one', 'two']
            .slice(0, valuesOf(index))
            .map((name) => `ea_set /many/${fileOf(index)} user.${name} ${name}-${index}\n`),
        )
        .join(''),
    );
    run('debugfs', '-w', '-f', commands, image);
    session = await launchSession(scene.client, [imageDrive('disk.img', { writable: false })]);
    await session.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
  });

  it('have their status returned in order, and missing ones are marked', async () => {
    const names = [...numbers.map(fileOf).reverse(), MISSING, linkOf(7)];
    const found = (await session.call('lstatnslist', { path: '/many', names })) as Statns[];
    expect(found.slice(0, COUNT).map(({ st_size }) => Number(st_size))).toEqual(numbers.map(sizeOf).reverse());
    expect(new Set(found.map(({ st_ino }) => st_ino)).size).toBe(names.length);
    expect(found.slice(COUNT)).toEqual([
      expect.objectContaining({ st_ino: -1n }),
      expect.objectContaining({ st_size: BigInt('target of 7'.length) }),
    ]);
    const older = (await session.call('lstatlist', { path: '/many', names })) as Stat[];
    expect(older.map(({ ino, size }) => [ino, size])).toEqual(found.map(({ st_ino, st_size }) => [st_ino, st_size]));
  });

  it('have their links returned in order, and those that are not links are empty', async () => {
    const names = [fileOf(0), ...numbers.map(linkOf), MISSING];
    expect(await session.call('readlinklist', { path: '/many', names })).toEqual([
      '',
      ...numbers.map((index) => `target of ${index}`),
      '',
    ]);
  });

  it('have their attributes returned in order, each preceded by their number', async () => {
    const names = [...numbers.map(fileOf), MISSING];
    const found = (await session.call('lxattrlist', { path: '/many', names })) as Xattr[];
    const expected = numbers.flatMap((index) => [
      ['', `${valuesOf(index)}\0`],
      ...['one', 'two'].slice(0, valuesOf(index)).map((name) => [`user.${name}`, `${name}-${index}`]),
    ]);
    expect(found.map(({ attrname, attrval }) => [attrname, Buffer.from(attrval).toString()])).toEqual([
      ...expected,
      ['', ''],
    ]);
  });

  it.each(['lstatnslist', 'lstatlist', 'readlinklist'])(
    'of a directory that is not there are an error: %s',
    async (action) => {
      expect(await session.failure(action, { path: '/none', names: [fileOf(0)] })).toMatchObject({
        code: status.NOT_FOUND,
        info: { reason: 'ENOENT' },
      });
      expect(await session.call(action, { path: '/many', names: [] })).toEqual([]);
    },
  );
});
