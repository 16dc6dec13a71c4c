import { describe, expect, it } from '@jest/globals';
import { lvcreate, vgcreate } from '../../../gen/calls/lvm.js';
import { mount } from '../../../gen/calls/mount.js';
import { ntfscloneIn, ntfscloneOut } from '../../../gen/calls/ntfs.js';
import { download } from '../../../gen/calls/transfer.js';
import { knowingAliases, withoutAlias } from '../../../src/session/driveAliases.js';
import { FakeDaemon } from '../library/fakes.js';

describe('names of drives', () => {
  it.each([
    ['/dev/hda', '/dev/sda'],
    ['/dev/vdb2', '/dev/sdb2'],
    ['/dev/xvda1', '/dev/sda1'],
    ['/dev/sda1', '/dev/sda1'],
    ['btrfsvol:/dev/hdb1/a/b', 'btrfsvol:/dev/sdb1/a/b'],
    ['btrfsvol:/dev/vg/lv/a', 'btrfsvol:/dev/vg/lv/a'],
    ['/dev/vdc', '/dev/vdc'],
    ['/dev/vg/vda', '/dev/vg/vda'],
    ['/dev/md0', '/dev/md0'],
    ['/dev/dm-1', '/dev/dm-1'],
    ['/dev/vd', '/dev/vd'],
    ['/dev/fd0', '/dev/fd0'],
    ['/dev/vdA', '/dev/vdA'],
    ['vda', 'vda'],
    ['/vda', '/vda'],
    ['', ''],
    ['btrfsvol:', 'btrfsvol:'],
  ])('%s is %s, with two drives', (name, usual) => {
    expect(withoutAlias(name, 2)).toBe(usual);
  });
});

describe('a daemon that knows aliases', () => {
  const sentBy = async (
    use: (daemon: ReturnType<typeof knowingAliases>) => Promise<unknown>,
  ): Promise<object | undefined> => {
    const daemon = new FakeDaemon({
      answers: { mount: {}, vgcreate: {}, lvcreate: {}, ntfsclone_in: {} },
      files: { download: () => [], ntfsclone_out: () => [] },
    });
    await use(knowingAliases(daemon, 1));
    return daemon.sent[0]?.request;
  };

  it('gets the canonical names, in devices, lists of them, and mountables', async () => {
    expect(await sentBy((daemon) => daemon.call(mount, { mountable: '/dev/vda1', mountpoint: '/dev/vda1' }))).toEqual({
      mountable: '/dev/sda1',
      mountpoint: '/dev/vda1',
    });
    expect(
      await sentBy((daemon) => daemon.call(vgcreate, { volgroup: '/dev/hda', physvols: ['/dev/hda1', '/dev/vg/lv'] })),
    ).toEqual({ volgroup: '/dev/hda', physvols: ['/dev/sda1', '/dev/vg/lv'] });
    expect(
      await sentBy((daemon) => daemon.download(ntfscloneOut, { device: '/dev/hda1' }, async () => undefined)),
    ).toEqual({ device: '/dev/sda1' });
    expect(
      await sentBy((daemon) =>
        daemon.upload(
          ntfscloneIn,
          { device: '/dev/hda1', progress_hint: undefined },
          (async function* () {
            /* nothing */
          })(),
        ),
      ),
    ).toMatchObject({ device: '/dev/sda1' });
  });

  it('gets everything else unchanged', async () => {
    const request = { logvol: '/dev/hda', volgroup: '/dev/hda', mbytes: 1 };
    expect(await sentBy((daemon) => daemon.call(lvcreate, request))).toBe(request);
    expect(
      await sentBy((daemon) => daemon.download(download, { remotefilename: '/dev/hda' }, async () => undefined)),
    ).toEqual({ remotefilename: '/dev/hda' });
  });
});
