/** Windows programs that contain nothing but pictures. */

/** A picture: rows from the top, of pixels from the left, of red, green and blue. */
export type Picture = readonly (readonly (readonly [red: number, green: number, blue: number])[])[];

const BITMAP = 2;
const ENGLISH = 0x409;
const IS_DIRECTORY = 0x8000_0000;
/** The location of the only section, in memory and in the file. */
const ADDRESS = 0x1000;
const OFFSET = 0x200;

/** A device-independent bitmap with 24 bits per pixel: a BMP file without its file header. */
function bitmapOf(picture: Picture): Buffer {
  const width = picture[0]?.length ?? 0;
  const header = Buffer.alloc(40);
  header.writeUInt32LE(header.length, 0);
  header.writeInt32LE(width, 4);
  header.writeInt32LE(picture.length, 8);
  header.writeUInt16LE(1, 12); // planes
  header.writeUInt16LE(24, 14); // bits
  const padding = Buffer.alloc((-3 * width) & 3);
  const rows = picture.map((row) =>
    Buffer.concat([Buffer.from(row.flatMap(([red, green, blue]) => [blue, green, red])), padding]),
  );
  return Buffer.concat([header, ...rows.reverse()]);
}

/** A directory of resources: the locations of its entries, by number. */
function directory(entries: ReadonlyMap<number, number>): Buffer {
  const table = Buffer.alloc(16 + 8 * entries.size);
  table.writeUInt16LE(entries.size, 14);
  [...entries].forEach(([number, place], index) => {
    table.writeUInt32LE(number, 16 + 8 * index);
    table.writeUInt32LE(place, 20 + 8 * index);
  });
  return table;
}

/** Resources are in directories by kind, number and language. */
function resources(pictures: ReadonlyMap<number, Picture>): Buffer {
  const kinds = directory(new Map([[BITMAP, IS_DIRECTORY + 24]]));
  const numbersEnd = kinds.length + 16 + 8 * pictures.size;
  const numbers = new Map<number, number>();
  const content: Buffer[] = [];
  let place = numbersEnd;
  for (const [number, picture] of pictures) {
    numbers.set(number, IS_DIRECTORY + place);
    const bitmap = bitmapOf(picture);
    const description = Buffer.alloc(16);
    description.writeUInt32LE(ADDRESS + place + 24 + description.length, 0);
    description.writeUInt32LE(bitmap.length, 4);
    const resource = Buffer.concat([
      directory(new Map([[ENGLISH, place + 24]])),
      description,
      bitmap,
      Buffer.alloc(-bitmap.length & 7),
    ]);
    content.push(resource);
    place += resource.length;
  }
  return Buffer.concat([kinds, directory(numbers), ...content]);
}

/** The headers of a 32-bit program with one section. */
function headers(sectionSize: number): Buffer {
  const program = Buffer.alloc(OFFSET);
  const start = 0x40;
  program.write('MZ', 0, 'latin1');
  program.writeUInt32LE(start, 0x3c);
  program.write('PE\0\0', start, 'latin1');
  program.writeUInt16LE(0x14c, start + 4); // for i386
  program.writeUInt16LE(1, start + 6);
  program.writeUInt16LE(0xe0, start + 20); // size of the optional header
  program.writeUInt16LE(0x102, start + 22); // an executable of 32 bits
  const optional = start + 24;
  program.writeUInt16LE(0x10b, optional); // PE32
  program.writeUInt32LE(0x40_0000, optional + 28); // preferred address in memory
  program.writeUInt32LE(ADDRESS, optional + 32); // sections are at multiples of this in memory
  program.writeUInt32LE(OFFSET, optional + 36); // and of this in the file
  program.writeUInt32LE(ADDRESS + sectionSize, optional + 56);
  program.writeUInt32LE(OFFSET, optional + 60);
  program.writeUInt16LE(2, optional + 68); // with windows
  program.writeUInt32LE(16, optional + 92); // tables, of which resources are the third
  program.writeUInt32LE(ADDRESS, optional + 112);
  program.writeUInt32LE(sectionSize, optional + 116);
  const section = optional + 0xe0;
  program.write('.rsrc', section, 'latin1');
  program.writeUInt32LE(sectionSize, section + 8);
  program.writeUInt32LE(ADDRESS, section + 12);
  program.writeUInt32LE(sectionSize, section + 16);
  program.writeUInt32LE(OFFSET, section + 20);
  program.writeUInt32LE(0x4000_0040, section + 36); // data that is read
  return program;
}

/** A 32-bit program with pictures as its bitmaps, by number. */
export function programWithBitmaps(pictures: ReadonlyMap<number, Picture>): Buffer {
  const section = resources(pictures);
  return Buffer.concat([headers(section.length), section]);
}
