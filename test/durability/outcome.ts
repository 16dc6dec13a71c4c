/** The outcome of a part of the durability tests. */

export interface Outcome {
  readonly name: string;
  /** What was lost or damaged. */
  readonly faults: readonly string[];
  /** How many images were examined. */
  readonly checked: number;
}
