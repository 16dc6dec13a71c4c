/**
 * Permanent lines, and below them a live line with a spinner and a progress bar. If the output is
 * a file or a pipe, only the permanent lines are written.
 */
const TICK_MS = 120;
const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;
const CLEAR_LINE = '\r\u001b[K';
const DEFAULT_WIDTH = 80;

export class Screen {
  readonly #out: NodeJS.WriteStream;
  #live: (() => string) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ticks = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  get interactive(): boolean {
    return this.#out.isTTY;
  }

  /** Prints a permanent line. */
  print(line = ''): void {
    if (this.#live === undefined || !this.interactive) {
      this.#out.write(`${line}\n`);
      return;
    }
    this.#out.write(`${CLEAR_LINE}${line}\n`);
    this.#draw();
  }

  /** Shows what `text` says, again and again, until the returned function is called. */
  show(text: () => string): () => void {
    this.#live = text;
    if (this.interactive) {
      this.#timer = setInterval(() => this.#draw(), TICK_MS);
      this.#draw();
    }
    return () => this.#hide();
  }

  #hide(): void {
    clearInterval(this.#timer);
    if (this.#live !== undefined && this.interactive) this.#out.write(CLEAR_LINE);
    this.#live = undefined;
  }

  #draw(): void {
    if (this.#live === undefined) return;
    this.#ticks += 1;
    const spinner = SPINNER[this.#ticks % SPINNER.length] ?? '';
    const line = `    ${spinner} ${this.#live()}`;
    this.#out.write(CLEAR_LINE + [...line].slice(0, (this.#out.columns || DEFAULT_WIDTH) - 1).join(''));
  }
}
