/** Reads the pixels of PNG files that are not interlaced, with at most 8 bits per sample. */
import { inflateSync } from 'node:zlib';
import type { Picture } from './guests/programWithBitmaps.js';

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
/** Kinds of pixels. */
const GREY = 0;
const COLOUR = 2;
const PALETTE = 3;

function chunks(png: Buffer): Map<string, Buffer> {
  if (!png.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new Error('this is not a PNG file');
  const found = new Map<string, Buffer>();
  for (let offset = SIGNATURE.length; offset < png.length; ) {
    const length = png.readUInt32BE(offset);
    const name = png.toString('latin1', offset + 4, offset + 8);
    found.set(name, Buffer.concat([found.get(name) ?? Buffer.alloc(0), png.subarray(offset + 8, offset + 8 + length)]));
    offset += length + 12;
  }
  if (!found.has('IEND')) throw new Error('the PNG file is truncated');
  return found;
}

function paeth(left: number, above: number, corner: number): number {
  const [fromLeft, fromAbove, fromCorner] = [above - corner, left - corner, left + above - 2 * corner].map(
    Math.abs,
  ) as [number, number, number];
  if (fromLeft <= fromAbove && fromLeft <= fromCorner) return left;
  return fromAbove <= fromCorner ? above : corner;
}

/** Decodes rows, each of which is stored as differences from neighbouring bytes, with one of five filters. */
function unfiltered(data: Buffer, height: number, rowBytes: number, pixelBytes: number): Buffer[] {
  const rows: Buffer[] = [];
  for (let y = 0; y < height; y += 1) {
    const start = y * (rowBytes + 1);
    const filter = data.readUInt8(start);
    const row = Buffer.from(data.subarray(start + 1, start + 1 + rowBytes));
    const before = rows.at(-1) ?? Buffer.alloc(rowBytes);
    for (let x = 0; x < rowBytes; x += 1) {
      const [left, above, corner] = [row[x - pixelBytes] ?? 0, before[x] ?? 0, before[x - pixelBytes] ?? 0];
      const predicted = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
      if (predicted === undefined) throw new Error(`there is no filter ${filter}`);
      row[x] = (row.readUInt8(x) + predicted) & 0xff;
    }
    rows.push(row);
  }
  return rows;
}

/** The samples of a row of pixels with one sample each. */
function samples(row: Buffer, width: number, bits: number): number[] {
  return Array.from({ length: width }, (_none, x) => {
    const bit = x * bits;
    return (row.readUInt8(bit >> 3) >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
  });
}

/** The pixels of a PNG file. */
export function pixelsOf(png: Buffer): Picture {
  const parts = chunks(png);
  const part = (name: string): Buffer => parts.get(name) ?? Buffer.alloc(0);
  const header = part('IHDR');
  const [width, height, bits, kind] = [
    header.readUInt32BE(0),
    header.readUInt32BE(4),
    header.readUInt8(8),
    header.readUInt8(9),
  ];
  if (bits > 8 || header.readUInt8(12) !== 0) throw new Error('this kind of PNG file is not supported');
  const pixelBytes = kind === COLOUR ? 3 : 1;
  const rows = unfiltered(inflateSync(part('IDAT')), height, Math.ceil((width * bits * pixelBytes) / 8), pixelBytes);
  const colour = (bytes: Buffer, index: number): [number, number, number] => [
    bytes.readUInt8(3 * index),
    bytes.readUInt8(3 * index + 1),
    bytes.readUInt8(3 * index + 2),
  ];
  if (kind === COLOUR) return rows.map((row) => Array.from({ length: width }, (_none, x) => colour(row, x)));
  if (kind === PALETTE) return rows.map((row) => samples(row, width, bits).map((index) => colour(part('PLTE'), index)));
  if (kind !== GREY) throw new Error(`pixels of kind ${kind} are not supported`);
  return rows.map((row) =>
    samples(row, width, bits).map((sample) => {
      const grey = (sample * 255) / ((1 << bits) - 1);
      return [grey, grey, grey];
    }),
  );
}
