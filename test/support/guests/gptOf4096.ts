/** The start of a disk with sectors of 4096 bytes. */

const SECTOR = 4096;

/** An image with a protective MBR, and the signature of a GPT in the second sector; nothing else is looked at. */
export function gptOf4096(mebibytes: number): Buffer {
  const image = Buffer.alloc(mebibytes << 20);
  const entry = 0x1be;
  image[entry + 4] = 0xee;
  image.writeUInt32LE(1, entry + 8);
  image.writeUInt32LE(image.length / SECTOR - 1, entry + 12);
  image.writeUInt16LE(0xaa55, 510);
  image.write('EFI PART', SECTOR, 'latin1');
  return image;
}
