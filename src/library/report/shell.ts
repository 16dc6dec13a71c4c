/** Pieces of scripts for the appliance's own shell, which is not confined to the guest. */

/** Text as one word of a script. */
export function word(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Several words. */
export function words(texts: readonly string[]): string {
  return texts.map(word).join(' ');
}

/** The lines that a script printed. */
export function lines(output: string): string[] {
  return output.split('\n').filter((line) => line !== '');
}
