/** Types for the part of @stellar/js-xdr that is used; the package has no types. */
declare module '@stellar/js-xdr' {
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
  const jsXdr: { readonly XdrWriter: typeof XdrWriter };
  export default jsXdr;
}
