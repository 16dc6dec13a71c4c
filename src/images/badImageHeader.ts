/** A header that no drive can be made of; the message completes "image 'x' ...". */
export class BadImageHeader extends Error {
  override readonly name = 'BadImageHeader';
}
