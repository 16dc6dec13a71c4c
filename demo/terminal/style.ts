/** Colours, on terminals only. */
export interface Style {
  readonly strong: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
}

function paint(code: number): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`;
}

function plain(text: string): string {
  return text;
}

/** https://no-color.org */
export function styleFor(stream: { readonly isTTY?: boolean }, environment: NodeJS.ProcessEnv = process.env): Style {
  const colours = stream.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
  if (!colours) return { strong: plain, faint: plain, good: plain, bad: plain };
  return { strong: paint(1), faint: paint(2), good: paint(32), bad: paint(31) };
}
