/**
 * Signatures of kernel modules.
 *
 * Debian signs its modules for machines under Secure Boot. The kernel checks a
 * signature whenever there is one, with a hash over the whole module and an
 * elliptic curve operation: half of the time the initrd takes, under
 * emulation. A module without one loads just as well; the kernel only marks
 * itself as tainted ("E"), which nothing in an appliance looks at.
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
  if (end <= 0) throw new Error('a module is signed with more bytes than it has');
  return module.subarray(0, end);
}
