/** Searches for a path from a node back to itself; returns it, or undefined if there is none. */
export function findCycle<Node>(nodes: readonly Node[], next: (node: Node) => readonly Node[]): Node[] | undefined {
  const finished = new Set<Node>();
  const path: Node[] = [];
  const visit = (node: Node): Node[] | undefined => {
    if (finished.has(node)) return undefined;
    const seenAt = path.indexOf(node);
    if (seenAt >= 0) return [...path.slice(seenAt), node];
    path.push(node);
    for (const neighbour of next(node)) {
      const cycle = visit(neighbour);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    finished.add(node);
    return undefined;
  };
  for (const node of nodes) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
