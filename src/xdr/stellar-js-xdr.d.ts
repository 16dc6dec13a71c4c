/** Types for the part of @stellar/js-xdr that is used; the package has no types. */
declare module '@stellar/js-xdr' {
  export class XdrReader {
    constructor(source: Buffer);
    remainingBytes(): number;
    /** A view of `size` bytes of the source; checks bounds and zero padding. */
    read(size: number): Buffer;
    readInt32BE(): number;
    readUInt32BE(): number;
    readBigInt64BE(): bigint;
    readBigUInt64BE(): bigint;
    readFloatBE(): number;
  }
  export class XdrWriter {
    constructor(bufferOrSize?: Buffer | number);
    /** Writes `size` bytes and pads them with zeros to a multiple of four. */
    write(value: Buffer | string, size: number): void;
    writeInt32BE(value: number): void;
    writeUInt32BE(value: number): void;
    writeBigInt64BE(value: bigint): void;
    writeBigUInt64BE(value: bigint): void;
    finalize(): Buffer;
    /** Called when the buffer is full: makes it hold at least `size` bytes. */
    resize(size: number): void;
  }
  /** The package is CommonJS: everything is a property of its default export. */
  const jsXdr: { readonly XdrReader: typeof XdrReader; readonly XdrWriter: typeof XdrWriter };
  export default jsXdr;
}
