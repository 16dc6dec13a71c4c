/** qemu commands. */
import { expect, it } from '@jest/globals';
import { formatProperties, shellCommand } from '../../../src/qemu/commandLine.js';

it('doubles commas in values, and leaves out what is not set', () => {
  expect(formatProperties('scsi-hd', { drive: 'a,b', serial: undefined, lun: 3, 'share-rw': true })).toBe(
    'scsi-hd,drive=a,,b,lun=3,share-rw=on',
  );
  expect(formatProperties('scsi-hd', {})).toBe('scsi-hd');
});

it.each([
  [['qemu', '-m', '1280M', '-accel', 'tcg,thread=multi'], 'qemu -m 1280M -accel tcg,thread=multi'],
  [['qemu', '-append', 'a b'], "qemu -append 'a b'"],
  [['-blockdev', '{"a":"b"}'], `-blockdev '{"a":"b"}'`],
  [["it's"], "'it'\\''s'"],
  [['', 'a\nb'], "'' 'a\nb'"],
])('shows %j as typed in a shell', (words, expected) => {
  expect(shellCommand(words)).toBe(expected);
});
