/** The parts of `npm run verify:deploy`. */
import { verifyChart } from './chart.mjs';
import { verifyCluster } from './cluster.mjs';
import { verifyCompose } from './compose.mjs';
import { verifyImage } from './image.mjs';
import { verifyUnits } from './units.mjs';

/** The quickest first. */
export const PARTS = {
  units: verifyUnits,
  compose: verifyCompose,
  chart: verifyChart,
  cluster: verifyCluster,
  image: verifyImage,
};
