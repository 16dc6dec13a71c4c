/** An image header that makes the image unusable as a drive; the message completes "image 'x' ...". */
export class BadImageHeader extends Error {
  override readonly name = 'BadImageHeader';
}
