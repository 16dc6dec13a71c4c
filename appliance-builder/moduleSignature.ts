/**
 * Signatures of kernel modules.
 *
 * Debian signs its modules for machines under Secure Boot. The kernel checks a
 * signature whenever there is one, with a hash over the entire module and an
 * elliptic curve operation: under emulation, that is half of the initrd's time.
 * A module without one loads just as well; the kernel only marks itself as
 * tainted ("E"), which does not matter in an appliance.
 */

/** The last bytes of a signed module. */
const MAGIC = Buffer.from('~Module signature appended~\n');

/** Before the magic: seven bytes of identifiers, padding, and the signature's length. */
const TRAILER_SIZE = 12;

/** A module without its signature; the module itself if it has none. */
export function withoutSignature(module: Buffer): Buffer {
  if (module.length < MAGIC.length + TRAILER_SIZE) return module;
  const trailerEnd = module.length - MAGIC.length;
  if (!module.subarray(trailerEnd).equals(MAGIC)) return module;
  const end = trailerEnd - TRAILER_SIZE - module.readUInt32BE(trailerEnd - 4);
  if (end <= 0) throw new Error('the signature of a module is longer than the module');
  return module.subarray(0, end);
}
