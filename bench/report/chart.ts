/** A chart of the ratios: bars to the right of the line are better than the subject compared with. */
import { SUBJECT_TITLES, SUBJECTS, type SubjectId } from '../subjects/subject.js';
import type { BenchResult } from './result.js';
import { figure } from './table.js';

const WIDTH = 860;
const LABEL_WIDTH = 300;
const RIGHT = 70;
const BAR_HEIGHT = 14;
const GAP = 14;
const TOP = 64;
const COLOURS: Readonly<Partial<Record<SubjectId, string>>> = {
  other: '#bf8700',
  library: '#1f6feb',
  stock: '#8b949e',
};

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** SVG. */
export function chart(result: BenchResult): string {
  const rows = result.rows.filter(({ ratios }) => Object.keys(ratios).length > 0);
  const ratios = rows.flatMap((row) => Object.values(row.ratios));
  const scale = (WIDTH - LABEL_WIDTH - RIGHT) / Math.max(1.25, ...ratios);
  const elements: string[] = [];
  let y = TOP;
  for (const row of rows) {
    const bars = Object.entries(row.ratios) as [SubjectId, number][];
    elements.push(
      `<text x="${LABEL_WIDTH - 12}" y="${y + (bars.length * BAR_HEIGHT) / 2 + 4}" text-anchor="end">${escape(row.title)}</text>`,
    );
    for (const [id, ratio] of bars) {
      const length = ratio * scale;
      elements.push(
        `<rect x="${LABEL_WIDTH}" y="${y}" width="${length.toFixed(1)}" height="${BAR_HEIGHT - 2}" fill="${COLOURS[id] ?? '#000'}"/>`,
        `<text x="${(LABEL_WIDTH + length + 6).toFixed(1)}" y="${y + BAR_HEIGHT - 4}" class="figure">× ${figure(ratio)}</text>`,
      );
      y += BAR_HEIGHT;
    }
    y += GAP;
  }
  const one = LABEL_WIDTH + scale;
  const shown = SUBJECTS.filter((id) => rows.some((row) => id in row.ratios));
  const legend = shown.map(
    (id, index) =>
      `<rect x="${LABEL_WIDTH + index * 180}" y="34" width="10" height="10" fill="${COLOURS[id] ?? ''}"/><text x="${LABEL_WIDTH + index * 180 + 16}" y="43" class="figure">than ${escape(SUBJECT_TITLES[id])}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + GAP}" viewBox="0 0 ${WIDTH} ${y + GAP}" font-family="sans-serif" font-size="12">`,
    '<style>.figure{font-size:11px;fill:#57606a}</style>',
    `<rect width="${WIDTH}" height="${y + GAP}" fill="#fff"/>`,
    `<text x="16" y="24" font-size="15">How many times better guestfs-grpc is (${escape(result.date.slice(0, 10))})</text>`,
    ...legend,
    ...elements,
    `<line x1="${one.toFixed(1)}" x2="${one.toFixed(1)}" y1="${TOP - 8}" y2="${y}" stroke="#24292f" stroke-dasharray="3 3"/>`,
    '</svg>',
  ].join('\n');
}
