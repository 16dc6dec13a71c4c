import type { FileHandle } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { addColdMachine } from '../../../src/launcher/coldMachine.js';
import type { Accelerator, LaunchConfig } from '../../../src/launcher/launcher.js';
import { hostArchitecture } from '../../../src/qemu/arch.js';
import { QemuCommandLine } from '../../../src/qemu/commandLine.js';

const config: LaunchConfig = {
  drives: [],
  memsizeMb: 1280,
  smp: 1,
  network: false,
  selinux: false,
  verbose: false,
  accelerator: 'auto',
  qemuBinary: undefined,
  appliancePath: '/appliance',
  append: undefined,
  session: 'a1',
  identifier: '',
  extraQemuArguments: [],
  temporaryDirectory: '/tmp',
  cacheDirectory: '/var/tmp',
};

/** Only the number of a descriptor is used. */
const file = (fd: number): FileHandle => ({ fd }) as FileHandle;

function commandOf(
  changes: Partial<LaunchConfig> = {},
  drives: Parameters<typeof addColdMachine>[2]['drives'] = [],
  accelerator: Accelerator = 'tcg',
) {
  const line = new QemuCommandLine('/usr/bin/qemu-system-x86_64');
  // As with prepared drives: their files come first.
  line.add(file(40));
  addColdMachine(
    line,
    { ...config, ...changes },
    {
      accelerator,
      architecture: hostArchitecture('x64'),
      appliance: {
        root: file(23),
        rootUuid: '11111111-2222-3333-4444-555555555555',
        rootImage: { format: 'raw', virtualSize: 1n << 30n, uuid: undefined },
      },
      kernel: file(21),
      initrd: file(22),
      overlay: file(24),
      drives,
    },
  );
  return line.build();
}

/** The values of an option, in order. */
const valuesOf = (args: readonly string[], name: string): string[] =>
  args.flatMap((arg, index) => (arg === `-${name}` ? [args[index + 1] ?? ''] : []));

describe('the command line of a cold machine', () => {
  it('is this', () => {
    const { binary, args, fds } = commandOf();
    expect(binary).toBe('/usr/bin/qemu-system-x86_64');
    expect(fds).toEqual([40, 21, 22, 23, 24]);
    expect(
      args
        .join('\n')
        .replaceAll('\n-', '\n\n-')
        .split('\n\n')
        .map((option) => option.replace('\n', ' ')),
    ).toEqual([
      '-add-fd fd=7,set=7',
      '-no-user-config',
      '-nodefaults',
      '-display none',
      '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
      '-machine q35,sata=off,smbus=off,usb=off,vmport=off,hpet=off,dump-guest-core=off',
      '-accel tcg,thread=multi,tb-size=256',
      '-cpu max',
      '-smp 1',
      '-m 1280M',
      '-no-reboot',
      '-rtc base=utc,driftfix=slew',
      '-name guestfs-a1',
      '-kernel /proc/self/fd/8',
      '-initrd /proc/self/fd/9',
      '-append panic=1 console=ttyS0 edd=off no_timer_check usbcore.nousb 8250.nr_uarts=1 cryptomgr.notests tsc=reliable cgroup_disable=memory udevtimeout=6000 udev.event-timeout=6000 printk.time=1 init_on_alloc=0 norandmaps root=UUID=11111111-2222-3333-4444-555555555555 selinux=0 quiet TERM=linux',
      '-chardev socket,id=console,fd=5',
      '-serial chardev:console',
      '-chardev socket,id=monitor,fd=4',
      '-mon chardev=monitor,mode=control',
      '-object rng-random,id=rng0,filename=/dev/urandom',
      '-device virtio-rng-pci,rng=rng0',
      '-device virtio-scsi-pci,id=scsi0,hotplug=off',
      '-device virtio-serial-pci',
      '-chardev socket,id=daemon,fd=3',
      '-device virtserialport,chardev=daemon,name=org.libguestfs.channel.0',
      '-add-fd fd=10,set=10',
      '-add-fd fd=11,set=11',
      '-blockdev {"driver":"file","node-name":"root-file","filename":"/dev/fdset/10","read-only":true,"locking":"off","cache":{"direct":false,"no-flush":true}}',
      '-blockdev {"driver":"raw","node-name":"root-image","file":"root-file","read-only":true,"cache":{"direct":false,"no-flush":true}}',
      '-blockdev {"driver":"file","node-name":"root-overlay","filename":"/dev/fdset/11","locking":"off","cache":{"direct":false,"no-flush":true}}',
      '-blockdev {"driver":"qcow2","node-name":"root","file":"root-overlay","backing":"root-image","cache":{"direct":false,"no-flush":true}}',
      '-device virtio-blk-pci,drive=root,werror=report,rerror=report',
    ]);
  });

  it('has each drive on the target of its position, with its label and block size', () => {
    const drive = (name: string) => ({
      files: [],
      blockNodes: [{ driver: 'raw', 'node-name': name }],
      topNode: name,
      format: 'raw' as const,
      subject: name,
    });
    const { args } = commandOf({}, [
      { ...drive('drive0'), serial: 'a,b', blockSize: undefined },
      { ...drive('drive1'), serial: undefined, blockSize: 4096 },
    ]);
    expect(valuesOf(args, 'device').slice(-2)).toEqual([
      'scsi-hd,bus=scsi0.0,channel=0,scsi-id=0,lun=0,drive=drive0,id=sd0,serial=a,,b,werror=report,rerror=report',
      'scsi-hd,bus=scsi0.0,channel=0,scsi-id=1,lun=0,drive=drive1,id=sd1,physical_block_size=4096,logical_block_size=4096,werror=report,rerror=report',
    ]);
    expect(valuesOf(args, 'blockdev').slice(-2)).toEqual([
      '{"driver":"raw","node-name":"drive0"}',
      '{"driver":"raw","node-name":"drive1"}',
    ]);
  });

  it('passes the settings to the kernel', () => {
    const [append] = valuesOf(
      commandOf({ verbose: true, network: true, selinux: true, append: 'one=1 two', identifier: 'a b\nc' }).args,
      'append',
    );
    expect(append).toMatch(
      / selinux=1 enforcing=0 guestfs_verbose=1 guestfs_network=1 TERM=linux guestfs_identifier=a_b_c one=1 two$/,
    );
    expect(append).not.toContain('quiet');
  });

  it('leaves address randomization on under KVM', () => {
    const { args } = commandOf({}, [], 'kvm');
    expect(valuesOf(args, 'accel')).toEqual(['kvm']);
    expect(valuesOf(args, 'append')[0]).not.toMatch(/norandmaps|init_on_alloc/);
  });

  it('has a network only if requested', () => {
    expect(valuesOf(commandOf().args, 'netdev')).toEqual([]);
    expect(valuesOf(commandOf({ network: true }).args, 'netdev')).toEqual(['user,id=network,net=169.254.0.0/16']);
  });

  it('ends with the arguments of the session', () => {
    expect(
      commandOf({
        extraQemuArguments: [
          ['-set', 'device.sd0.x=y'],
          ['snapshot', undefined],
        ],
      }).args.slice(-3),
    ).toEqual(['-set', 'device.sd0.x=y', '-snapshot']);
  });
});
