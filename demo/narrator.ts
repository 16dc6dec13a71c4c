/** Prints the tour: steps, the RPC behind each line, its answer, its duration. */
import type { Screen } from './terminal/screen.js';
import { seconds } from './terminal/format.js';
import type { Style } from './terminal/style.js';

const RPC_WIDTH = 44;
const TIME_WIDTH = 8;
const NUMBER_WIDTH = 2;

interface Step {
  readonly title: string;
  readonly startedAt: number;
  ms: number;
}

export class Narrator {
  readonly screen: Screen;
  readonly #style: Style;
  readonly #steps: Step[] = [];
  #calls = 0;

  constructor(screen: Screen, style: Style) {
    this.screen = screen;
    this.#style = style;
  }

  /** Begins a step, and ends the previous one. */
  step(title: string): void {
    this.endStep();
    this.#steps.push({ title, startedAt: performance.now(), ms: 0 });
    this.screen.print();
    this.screen.print(this.#style.strong(`${String(this.#steps.length).padStart(NUMBER_WIDTH)}  ${title}`));
  }

  endStep(): void {
    const step = this.#steps.at(-1);
    if (step !== undefined && step.ms === 0) step.ms = performance.now() - step.startedAt;
  }

  /** A call that succeeded. */
  rpc(name: string, ms: number, note = '', count = 1): void {
    this.#calls += count;
    const [line = '', ...more] = note.split('\n');
    const shown = count === 1 ? name : `${name} ×${count}`;
    this.screen.print(`    ${shown.padEnd(RPC_WIDTH)}${seconds(ms).padStart(TIME_WIDTH)}  ${line}`.trimEnd());
    for (const next of more) this.text(next);
  }

  /** The result of a call. */
  text(line: string): void {
    this.screen.print(`      ${line}`);
  }

  /** A check that succeeded. */
  good(line: string): void {
    this.screen.print(`    ${this.#style.good('✓')} ${line}`);
  }

  /** An event next to the calls. */
  event(line: string): void {
    this.screen.print(this.#style.faint(`      ┊ ${line}`));
  }

  failure(text: string): void {
    this.screen.print();
    this.screen.print(this.#style.bad(`FAILED  ${text}`));
  }

  /** The times of all steps. */
  summary(): void {
    this.endStep();
    this.screen.print();
    this.screen.print(this.#style.strong('    Time by step'));
    const width = Math.max(...this.#steps.map(({ title }) => title.length)) + 2;
    for (const [index, { title, ms }] of this.#steps.entries()) {
      this.screen.print(
        `${String(index + 1).padStart(NUMBER_WIDTH)}  ${title.padEnd(width)}${seconds(ms).padStart(TIME_WIDTH)}`,
      );
    }
    const total = this.#steps.reduce((sum, { ms }) => sum + ms, 0);
    this.screen.print(`    ${`all, ${this.#calls} calls`.padEnd(width)}${seconds(total).padStart(TIME_WIDTH)}`);
  }
}
