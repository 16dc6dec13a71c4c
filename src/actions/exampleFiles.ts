/** Files that examples of FileIn actions send, where a line of text would not do. */

/** An archive with the file `hello`, packed by gzip. */
export const TAR_GZ = Buffer.from(
  'H4sIAAAAAAACA8tIzcnJZ6AtMAACMxMTMA0E6DRIlsHQxNTIxNzcwAQkbmhgZG7IoGDAQAdQWlySWAR0CjU8iey5IQIyQPHPxTAKRsEoGAWjYIQBAOwCKSoACAAA',
  'base64',
);
/** The same, packed by xz. */
export const TAR_XZ = Buffer.from(
  '/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4Af/AEhdADQZSe6N1/i4P8k3Mt7I1YCE/+ChAPrk84aJ4buKw6IbYvjHHdN8QRRIZ2Gh14KjpJSb8PI9Sx2S1fR6f5IGpCM4emZmXlCoAADsAikqAAFggBAAAACKPF4qPjANiwIAAAAAAVla',
  'base64',
);

/** Clusters of 4 KiB of an NTFS of 64 MiB. */
const CLUSTER_SIZE = 4096;
const CLUSTERS = 16383n;

/**
 * An ntfsclone image (version 10.1) of a file system without a cluster in use: a header, and a
 * gap that is as long as the device. Real ones come from ntfsclone_out, and are too long to print.
 */
export function emptyNtfsclone(): Buffer {
  const header = Buffer.alloc(50);
  header.write('\0ntfsclone-image', 0, 'latin1');
  header.writeUInt8(10, 16);
  header.writeUInt8(1, 17);
  header.writeUInt32LE(CLUSTER_SIZE, 18);
  header.writeBigUInt64LE(CLUSTERS * BigInt(CLUSTER_SIZE), 22); // size of the device
  header.writeBigUInt64LE(CLUSTERS, 30);
  header.writeBigUInt64LE(0n, 38); // clusters in use
  header.writeUInt32LE(50, 46); // where the data begin
  const gap = Buffer.alloc(9);
  gap.writeBigUInt64LE(CLUSTERS, 1);
  return Buffer.concat([header, gap]);
}
